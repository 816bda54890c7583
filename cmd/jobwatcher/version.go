package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by -ldflags "-X main.version=v1.2.3 -X main.revision=…"; without them the
// build information of the Go command is used.
var version, revision string

// build is what this binary is.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
}

func thisBuild() build {
	b := build{Version: version, Revision: revision, Go: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	if b.Revision == "" {
		b.Revision = vcsRevision(info.Settings)
	}
	return b
}

func vcsRevision(settings []debug.BuildSetting) string {
	revision, modified := "unknown", ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "-modified"
		}
	}
	return revision + modified
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		GroupID: groupHere,
		Short:   "Version, revision, Go version",
		Args:    cobra.NoArgs,
	}
	out := outputFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		b := thisBuild()
		if *out == outputJSON {
			return a.printJSON(b)
		}
		_, err := fmt.Fprintf(a.stdout, "jobwatcher %s\nrevision   %s\ngo         %s\n", b.Version, b.Revision, b.Go)
		return err
	}
	return cmd
}
