package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jobwatcher/jobwatcher/cmd/jobwatcher/httpapi"
	"github.com/prometheus/exporter-toolkit/web"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zapio"
)

// closeLimit is how long open requests may take at the end; long polls are
// ended by their own context before that.
const closeLimit = 5 * time.Second

// listen opens the address and serves the handler there until the lifecycle
// unwinds. It returns the real address, since the port may have been 0.
func listen(ctx context.Context, l *lifecycle, name, address, webConfig string, handler http.Handler, log *zap.Logger) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen for %s: %w", name, err)
	}
	l.CleanUp(name+" listener", func(context.Context) error {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	// What a client does wrong (a bad TLS handshake, say) is worth a line only
	// to somebody who looks for it.
	faults, err := zap.NewStdLogAt(log, zapcore.DebugLevel)
	if err != nil {
		return "", err
	}
	// Requests end with base, so that no long poll outlives the daemon.
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: httpapi.ReadHeaderTimeout,
		IdleTimeout:       httpapi.IdleTimeout,
		MaxHeaderBytes:    httpapi.MaxHeaderBytes,
		ErrorLog:          faults,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	warnings := &zapio.Writer{Log: log, Level: zapcore.WarnLevel}
	toolkit := slog.New(slog.NewTextHandler(warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l.Server(name, func() error {
		err := web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &webConfig}, toolkit)
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}, func(ctx context.Context) error {
		cancel(errDraining)
		ctx, done := context.WithTimeout(ctx, closeLimit)
		defer done()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			// Somebody opened a connection and says nothing, or does not end: that is
			// no fault of the stop.
			return server.Close()
		}
		return err
	})
	return listener.Addr().String(), nil
}
