package store

import "testing"

func TestParametersAreNumbersToSQLite(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SELECT 1":                        "SELECT 1",
		"VALUES ($1,$2,'x',$3),($4,$5)":   "VALUES (?,?,'x',?),(?,?)",
		"WHERE a = $2 AND b = $1":         "WHERE a = ?2 AND b = ?1",
		"SET a = $1, b = $1 WHERE c = $2": "SET a = ?1, b = ?1 WHERE c = ?2",
		"WHERE a = $1 AND b = $12":        "WHERE a = ?1 AND b = ?12",
	} {
		if got := numbered(text); got != want {
			t.Errorf("%s became %s, want %s", text, got, want)
		}
	}
}
