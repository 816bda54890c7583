package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/jobwatcher/jobwatcher"

// arrows is the whole architecture: what each package may import of this
// module (house: arrows point at what is imported, nothing points down). A
// package that is missing here is an error.
//
// The test reads the sources itself: one that asked `go list` was answered
// from the test cache after a forbidden import had been added.
var arrows = map[string][]string{
	"watcher/secret":           {},
	"watcher/job":              {"watcher/secret"},
	"metrics":                  {"watcher/job"},
	"watcher/forecast":         {"watcher/job"},
	"watcher":                  {"watcher/job", "watcher/forecast", "watcher/secret", "metrics"},
	"watcher/store":            {"watcher/job", "watcher/secret", "metrics"},
	"watcher/store/migrations": {},
	"watcher/store/storetest":  {"watcher/job", "watcher/secret", "watcher/store", "metrics"},
	"watcher/zuora":            {"watcher/job", "watcher/secret", "metrics"},
	"watcher/zuora/zuorasim":   {"watcher/job", "watcher/secret"},
	"watcher/watchertest":      {"watcher", "watcher/job", "watcher/secret"},
	"notify":                   {"watcher/job", "watcher/secret", "metrics"},
	"notify/outbound":          {"watcher/job", "watcher/secret"},
	"notify/webhook":           {"notify", "notify/outbound", "watcher/job", "watcher/secret"},
	"notify/slack":             {"notify", "notify/outbound", "watcher/job", "watcher/secret"},
	"notify/channel":           {"notify", "notify/outbound", "watcher/job", "watcher/secret"},
	"notify/notifytest":        {"notify", "watcher/job", "watcher/secret"},
	"cmd/jobwatcher/apiclient": {"watcher/job", "watcher/secret"},
	"cmd/jobwatcher/console":   {},
	"cmd/jobwatcher/httpapi":   {"watcher/job", "watcher/secret"},
	"cmd/jobwatcher/webui":     {"watcher/job"},
	"cmd/jobwatcher/verify": {
		"notify", "watcher", "watcher/job", "watcher/secret", "watcher/zuora/zuorasim", "cmd/jobwatcher/apiclient",
	},
	"cmd/jobwatcher": {"*"},
}

// mayBeMissing are packages that the table allows before they exist.
var mayBeMissing = []string{"watcher/watchertest", "watcher/store/migrations"}

// goFiles walks the module and yields every Go file with its package's path.
func goFiles(t *testing.T, yield func(pkg, file string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") {
			pkg, err := filepath.Rel(root, filepath.Dir(p))
			if err != nil {
				return err
			}
			yield(filepath.ToSlash(pkg), p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func forTests(pkg string) bool { return strings.HasSuffix(path.Base(pkg), "test") }

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	goFiles(t, func(pkg, file string) {
		seen[pkg] = true
		allowed, known := arrows[pkg]
		if !known {
			t.Errorf("package %s is missing from the table of arrows", pkg)
			return
		}
		isTest := strings.HasSuffix(file, "_test.go")
		for _, imported := range imports(t, file) {
			local, ours := strings.CutPrefix(imported, module+"/")
			switch {
			case !ours || local == pkg:
			case forTests(local):
				if !isTest && !forTests(pkg) {
					t.Errorf("%s imports %s, which is for tests only", file, local)
				}
			case isTest: // tests look where they like
			case !slices.Contains(allowed, local) && !slices.Contains(allowed, "*"):
				t.Errorf("%s imports %s; %s may import %v", file, local, pkg, allowed)
			}
		}
	})
	for pkg := range arrows {
		if !seen[pkg] && !slices.Contains(mayBeMissing, pkg) {
			t.Errorf("the table of arrows names %s, which does not exist", pkg)
		}
	}
}

func imports(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, spec := range parsed.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// A package's text lists its files in reading order; a file that no sentence
// speaks of has no reason to exist.
func TestPackageTextsNameEveryFile(t *testing.T) {
	t.Parallel()
	files := map[string][]string{}
	goFiles(t, func(pkg, file string) {
		if !strings.HasSuffix(file, "_test.go") {
			files[pkg] = append(files[pkg], file)
		}
	})
	for pkg, names := range files {
		text := packageText(t, names)
		if text == "" {
			t.Errorf("package %s has no package text", pkg)
			continue
		}
		for _, file := range names {
			base := filepath.Base(file)
			if base != "doc.go" && len(names) > 1 && !strings.Contains(text, base) {
				t.Errorf("the text of package %s does not say what %s is for", pkg, base)
			}
		}
	}
}

func packageText(t *testing.T, files []string) string {
	t.Helper()
	var text strings.Builder
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			text.WriteString(parsed.Doc.Text())
		}
	}
	return text.String()
}

// Texts that name files must not outlive them.
func TestPackageTextsNameNoFileThatIsGone(t *testing.T) {
	t.Parallel()
	files := map[string][]string{}
	goFiles(t, func(pkg, file string) { files[pkg] = append(files[pkg], file) })
	for pkg, names := range files {
		for word := range strings.FieldsFuncSeq(packageText(t, names), func(r rune) bool {
			return r != '.' && r != '_' && r != '/' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
		}) {
			if !strings.HasSuffix(word, ".go") || strings.Contains(word, "/") {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(pkg), word)); err != nil {
				t.Errorf("the text of package %s names %s, which does not exist", pkg, word)
			}
		}
	}
}
