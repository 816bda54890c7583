package main

import (
	"regexp"
	"slices"
	"strings"
)

// fromKubernetes matches what Kubernetes injects for a Service whose name
// begins like our prefix: JOBWATCHER_SERVICE_HOST, JOBWATCHER_PORT,
// JOBWATCHER_METRICS_PORT_9090_TCP_ADDR and their kin. A longer name that ends
// in PORT alone is only believed with its value, which is an address.
var fromKubernetes = regexp.MustCompile(`^(ZUORA|JOBWATCHER)(_PORT=.*|` +
	`(_[A-Z0-9_]+)?(_SERVICE_HOST=.*|_SERVICE_PORT(_[A-Z0-9_]+)?=.*|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=.*|_PORT=(tcp|udp|sctp)://.*))`)

// knownElsewhere are variables of ours that Config does not hold: the command
// line's own, and those of the tests.
func knownElsewhere(name string) bool {
	return name == serverVariable || strings.HasPrefix(name, "JOBWATCHER_TEST_")
}

// unknownVariables names the variables of our prefixes that nobody reads, each
// with the nearest one that is read.
func unknownVariables(environ []string) []string {
	var c Config
	var names []string
	for _, v := range variables(&c) {
		names = append(names, v.name)
	}
	var warnings []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, upstreamPrefix+"_") && !strings.HasPrefix(name, daemonPrefix+"_") {
			continue
		}
		if slices.Contains(names, name) || knownElsewhere(name) || fromKubernetes.MatchString(entry) {
			continue
		}
		warnings = append(warnings, name+" is not a variable of jobwatcher and is ignored; the nearest one is "+nearest(name, names))
	}
	slices.Sort(warnings)
	return warnings
}

// nearest is the candidate with the fewest edits.
func nearest(word string, candidates []string) string {
	best, fewest := "", int(^uint(0)>>1)
	for _, c := range candidates {
		if n := edits(word, c); n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// edits is the Levenshtein distance of two ASCII words.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
