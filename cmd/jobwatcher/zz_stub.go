package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func (a *app) runDaemon(ctx context.Context) error { return errors.New("not yet") }
func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{Use: "run", GroupID: groupDaemon, RunE: func(*cobra.Command, []string) error { return nil }}
}

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{Use: "watch", GroupID: groupHere, RunE: func(*cobra.Command, []string) error { return nil }}
}

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo", GroupID: groupHere, RunE: func(*cobra.Command, []string) error { return nil }}
}

func (a *app) simulateCommand() *cobra.Command {
	return &cobra.Command{Use: "simulate", GroupID: groupHere, RunE: func(*cobra.Command, []string) error { return nil }}
}
func (c *Config) checkDestinations(add report) {}
func (c *Config) destinations() ([]int, error) { return nil, nil }
