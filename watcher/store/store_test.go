package store_test

import (
	"testing"

	"github.com/jobwatcher/jobwatcher/watcher/store"
	"github.com/jobwatcher/jobwatcher/watcher/store/storetest"
)

func open(t *testing.T, url string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLiteFile(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(t *testing.T, o store.Options) *store.Store {
		t.Helper()
		return open(t, "sqlite:"+t.TempDir()+"/jobs with space.db", o)
	})
}

func TestSQLiteMemory(t *testing.T) {
	t.Parallel()
	storetest.Exercise(t, func(t *testing.T, o store.Options) *store.Store {
		t.Helper()
		return open(t, "sqlite::memory:", o)
	})
}

func TestPostgres(t *testing.T) {
	server := storetest.Postgres(t)
	storetest.Exercise(t, func(t *testing.T, o store.Options) *store.Store {
		t.Helper()
		return open(t, server.Database(t), o)
	})
}
