package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/jobwatcher/jobwatcher/watcher/job"
)

const (
	// channel is what replicas notify each other on. A database is one tenant's.
	channel = "jobwatcher"
	// maxNote is below the 8,000 bytes that PostgreSQL takes in one notification.
	maxNote = 7500
	// idBytes is what one id takes in a note.
	idBytes = 40
)

// Tell tells the other replicas on the same database. Nothing may depend on it:
// a note is lost when nobody listens, or when a pooler stands between. A store
// that one process has alone tells nobody.
func (s *Store) Tell(ctx context.Context, n job.Note) (err error) {
	if !s.dialect.postgres {
		return nil
	}
	defer s.observe("tell", time.Now(), &err)
	const most = (maxNote - 500) / idBytes
	for {
		part := n
		part.IDs = n.IDs[:min(len(n.IDs), most)]
		n.IDs = n.IDs[len(part.IDs):]
		b, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("tell the other replicas: %w", err)
		}
		if len(b) > maxNote {
			return fmt.Errorf("tell the other replicas: a note of %d bytes, allowed are %d: %w", len(b), maxNote, job.ErrInvalid)
		}
		if _, err := s.write.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, string(b)); err != nil {
			return fmt.Errorf("tell the other replicas: %w", err)
		}
		if len(n.IDs) == 0 {
			return nil
		}
	}
}

// Listen calls heard for each note of another replica, and ready as soon as
// none is missed, until ctx ends or the connection breaks. On a store that one
// process has alone it only waits for ctx.
func (s *Store) Listen(ctx context.Context, ready func(), heard func(job.Note)) error {
	if !s.dialect.postgres {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	conn, err := pgx.Connect(ctx, s.dialect.dsn)
	if err != nil {
		return errors.New("listen to the other replicas: no connection to the database") // pgx's text may hold the URL
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return fmt.Errorf("listen to the other replicas: %w", err)
	}
	ready()
	for {
		said, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listen to the other replicas: %w", err)
		}
		n := job.Note{}
		if json.Unmarshal([]byte(said.Payload), &n) == nil {
			heard(n)
		}
	}
}
