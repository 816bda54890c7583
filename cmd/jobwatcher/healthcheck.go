package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/jobwatcher/jobwatcher/watcher/job"
	"github.com/spf13/cobra"
)

// healthTimeout is below the 3 s that container engines allow by habit.
const healthTimeout = 2 * time.Second

func (a *app) healthcheckCommand() *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:     "healthcheck",
		GroupID: groupDaemon,
		Short:   "Ask /readyz of the local daemon; exit 0 or 1",
		Long: `Asks /readyz of the daemon on this machine, at the address of JOBWATCHER_LISTEN
or, when that is off, JOBWATCHER_METRICS_LISTEN; or of another one at --url. For
container health checks.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at != "" {
				return readyAt(cmd.Context(), at)
			}
			c, _ := readConfig()
			address := c.Daemon.Listen
			if address == "" {
				address = c.Daemon.MetricsListen
			}
			local, err := localAddress(address)
			if err != nil {
				return err
			}
			schemes := []string{"http"}
			if c.Daemon.WebConfigFile != "" {
				schemes = []string{"https", "http"}
			}
			return ready(cmd.Context(), local, schemes)
		},
	}
	cmd.Flags().StringVar(&at, "url", "", "base URL of a daemon elsewhere, such as http://jobwatcher:8080")
	return cmd
}

// readyAt asks a daemon elsewhere.
func readyAt(ctx context.Context, base string) error {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("--url: %q is not the URL of a daemon such as http://jobwatcher:8080", job.Cut(withoutUserinfo(base), 80))
	}
	return ready(ctx, u.Host, []string{u.Scheme})
}

// localAddress is where this machine reaches a listen address.
func localAddress(listen string) (string, error) {
	if listen == "" {
		return "", errors.New("JOBWATCHER_LISTEN and JOBWATCHER_METRICS_LISTEN are both off: there is nobody to ask")
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("JOBWATCHER_LISTEN: %w", err)
	}
	if port == "0" {
		return "", errors.New("JOBWATCHER_LISTEN has port 0: which port the daemon got is known from its log only")
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

// ready asks once by each scheme until one is answered.
func ready(ctx context.Context, address string, schemes []string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	transport := &http.Transport{
		// Its own machine is asked whether the daemon turns, by an address that
		// no certificate names; nothing is sent.
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: loopback(address)}, //nolint:gosec // see above
		DisableKeepAlives: true,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var all error
	for _, scheme := range schemes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+address+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(req)
		if err != nil {
			if refused := (*url.Error)(nil); errors.As(err, &refused) {
				err = refused.Err
			}
			all = errors.Join(all, fmt.Errorf("not ready: %s does not answer: %w", address, err))
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("not ready: %s answered %d", address, answer.StatusCode)
		}
		return nil
	}
	return all
}
