package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/console"
	"github.com/jobwatcher/jobwatcher/watcher/secret"
	"github.com/spf13/cobra"
)

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		GroupID: groupDaemon,
		Short:   "Every variable: name, value in force, default, meaning",
		Long:    "Prints every environment variable that jobwatcher reads, with the value in force. Secrets are masked.",
		Args:    noSuchCommand,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		c, bad := readConfig()
		c.checkUpstream(func(string, string, ...any) {}) // fills in the tenant's name
		a.warnUnknown()
		for _, f := range bad {
			a.notef("%s", f)
		}
		if *out == outputJSON {
			return a.printJSON(settings(&c))
		}
		t := console.NewTable("VARIABLE", "VALUE", "DEFAULT", "MEANING")
		for _, s := range settings(&c) {
			t.Row(s.Name, s.Value, s.Default, s.Meaning)
		}
		return t.Write(a.stdout)
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Validate everything without starting; non-zero exit on any fault",
		Long: `Reads what the daemon would read: variables, secret files, the destinations file
with its templates, the web configuration and the list of job IDs. It does not
open the store and asks nobody over the network. Every fault is one line.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.warnUnknown()
			c, err := loadConfig(forDaemon)
			if err != nil {
				return err
			}
			destinations, err := c.destinations()
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "ok: tenant %s, %d destinations, store %s\n", c.Daemon.Tenant, len(destinations), c.Daemon.Store)
			return nil
		},
	}
	cmd.AddCommand(check)
	return cmd
}

// loadConfig reads and validates; the error has one line for each fault.
func loadConfig(p purpose) (*Config, error) {
	c, bad := readConfig()
	bad = append(bad, c.validate(p)...)
	slices.SortStableFunc(bad, func(a, b fault) int { return cmp.Compare(position(a), position(b)) })
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return &c, nil
}

// position is where the variable stands in the reference.
func position(f fault) int {
	return slices.IndexFunc(variables(new(Config)), func(v variable) bool { return v.name == f.variable })
}

func (a *app) warnUnknown() {
	for _, text := range unknownVariables(os.Environ()) {
		a.notef("%s", text)
	}
}

// setting is one row of `jobwatcher config`.
type setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Set     bool   `json:"set"`
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}

func settings(c *Config) []setting {
	var all []setting
	for _, v := range variables(c) {
		_, set := os.LookupEnv(v.name)
		all = append(all, setting{v.name, v.shown(), set, v.def(), v.field.Tag.Get("desc")})
	}
	return all
}

// reference is deploy/config.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

Made from the tags in ` + "`cmd/jobwatcher/config.go`" + ` by ` + "`go test ./cmd/jobwatcher -run TestReference -update`" + `; a test fails when it is stale.

Everything is configured by environment variables. ` + "`jobwatcher config`" + ` prints them with the values in force, ` + "`jobwatcher config check`" + ` validates
them without starting. Every secret may instead be a file, named by the variable with ` + "`_FILE`" + ` behind it; setting both is an error. Files are read
again whenever they are used, so that a rotated Kubernetes Secret needs no restart.

| variable | default | meaning |
|---|---|---|
`)
	var c Config
	for _, v := range variables(&c) {
		def := "–"
		if v.def() != "" {
			def = "`" + v.def() + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.name, def, strings.ReplaceAll(v.field.Tag.Get("desc"), "|", `\|`))
	}
	b.WriteString(`
The command line reads two more when it talks to a daemon: ` + "`" + serverVariable + "`" + ` (default ` + "`" + defaultServer + "`" + `) and ` + "`JOBWATCHER_API_TOKEN`" + ` (or its ` + "`_FILE`" + `).

What ` + "`JOBWATCHER_DESTINATIONS_FILE`" + ` may hold is in [destinations/README.md](destinations/README.md).
`)
	return b.String()
}

var _ fmt.Stringer = secret.Text{} // variable.shown relies on it to mask secrets
