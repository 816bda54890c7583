package zuorasim

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func roundTrip(ctx context.Context, t *testing.T, h http.HandlerFunc, body io.Reader) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://rest.zuora.com/a?b=c", body)
	if err != nil {
		t.Fatal(err)
	}
	return (&Transport{Handler: h}).RoundTrip(req)
}

func TestTransportCarriesRequestAndAnswer(t *testing.T) {
	t.Parallel()
	res, err := roundTrip(t.Context(), t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", r.Method+" "+r.Host+r.RequestURI+" "+r.RemoteAddr+" "+string(b))
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("X-Late", "too late")
		_, _ = io.WriteString(w, strings.Repeat("x", 3*maxBuffered))
	}, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if got, want := res.Header.Get("X-Seen"), "POST rest.zuora.com/a?b=c 192.0.2.1:1234 hello"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err != nil || len(b) != 3*maxBuffered || res.StatusCode != http.StatusAccepted || res.Header.Get("X-Late") != "" {
		t.Errorf("got %d with %d bytes, %v, %v", res.StatusCode, len(b), err, res.Header)
	}
}

// The handler of a caller who hangs up or gives up must not stay behind.
func TestTransportTellsTheHandlerThatTheCallerHasGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		left := make(chan error, 2)
		res, err := roundTrip(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
					left <- err
					return
				}
			}
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if err := <-left; err == nil {
			t.Error("writing went on")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = roundTrip(ctx, t, func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			left <- r.Context().Err()
		}, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-left
		synctest.Wait()
	})
}

func TestTransportCutsWhenTheHandlerAborts(t *testing.T) {
	t.Parallel()
	if _, err := roundTrip(t.Context(), t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil); err == nil {
		t.Error("before the header: no error")
	}
	res, err := roundTrip(t.Context(), t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "abc")
		panic(http.ErrAbortHandler)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "abc" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %q, %v", b, err)
	}
}
