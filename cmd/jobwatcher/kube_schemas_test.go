package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// define installs definitions of the Prometheus operator and waits until the
// server serves them.
func (c *cluster) define(names ...string) {
	c.t.Helper()
	dir := os.Getenv("JOBWATCHER_TEST_CRDS")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			c.t.Fatal("JOBWATCHER_TEST_CRDS is not set")
		}
		c.t.Skip("JOBWATCHER_TEST_CRDS is not set; .ci/kubernetes fetches the definitions")
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name+".yaml"))
		if err != nil {
			c.t.Fatal(err)
		}
		for _, m := range manifests(c.t, text) {
			code, body, _, err := c.call(http.MethodPost, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", m.raw)
			if err != nil || code != http.StatusCreated {
				c.t.Fatalf("%s: %d %s %v", name, code, body, err)
			}
		}
		limit := time.After(time.Minute)
		for served := false; !served; {
			code, _, _, err := c.call(http.MethodGet, "/apis/monitoring.coreos.com/v1/namespaces/"+kubeNamespace+"/"+name, nil)
			if served = err == nil && code == http.StatusOK; served {
				break
			}
			select {
			case <-limit:
				c.t.Fatalf("%s are not served after a minute", name)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// schemas turns what the server says of its own types into the files that
// kubeconform reads, and returns their folder.
func (c *cluster) schemas() string {
	c.t.Helper()
	c.client.Timeout = time.Minute
	code, body, _, err := c.callCapped(http.MethodGet, "/openapi/v2", nil, 64<<20)
	if err != nil || code != http.StatusOK {
		c.t.Fatalf("OpenAPI: %d %v", code, err)
	}
	var doc struct {
		Definitions map[string]map[string]any `json:"definitions"`
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		c.t.Fatal(err)
	}
	dir := c.t.TempDir()
	for name, d := range doc.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"), strings.HasSuffix(name, ".Quantity"):
			d["type"] = []string{"string", "number"}
			delete(d, "format")
		case d["properties"] != nil:
			d["additionalProperties"] = false
		}
		kinds, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue
		}
		kind := kinds[0].(map[string]any) //nolint:forcetypeassert // the server's own document
		group, _, _ := strings.Cut(fmt.Sprint(kind["group"]), ".")
		file := strings.ToLower(fmt.Sprintf("%s-%s-%s.json", kind["kind"], group, kind["version"]))
		if group == "" {
			file = strings.ToLower(fmt.Sprintf("%s-%s.json", kind["kind"], kind["version"]))
		}
		write(c.t, filepath.Join(dir, file), `{"$ref":"_definitions.json#/definitions/`+name+`"}`)
	}
	all, err := json.Marshal(map[string]any{"definitions": doc.Definitions})
	if err != nil {
		c.t.Fatal(err)
	}
	write(c.t, filepath.Join(dir, "_definitions.json"), strings.ReplaceAll(string(all), "#/definitions/", "_definitions.json#/definitions/"))
	return dir
}

// conforms asks kubeconform.
func conforms(t *testing.T, schemas string, m manifest) error {
	t.Helper()
	var doc any
	if err := json.Unmarshal(m.raw, &doc); err != nil {
		return err
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "kubeconform"), "-strict", "-schema-location", schemas+"/{{.ResourceKind}}{{.KindSuffix}}.json", "-")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubeconform: %w: %s", err, out)
	}
	return nil
}
