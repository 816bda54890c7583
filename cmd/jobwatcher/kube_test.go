package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	kubeToken     = "test-administrator"
	kubeNamespace = "jobwatcher"
)

// cluster is a real Kubernetes API server, without anything behind it: what it
// takes would run in a cluster, and nothing runs here.
type cluster struct {
	t      *testing.T
	url    string
	client *http.Client
	config string // a kubeconfig
}

// startCluster skips when there is no API server, unless the gate runs.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	tools := map[string]string{"kube-apiserver": "", "etcd": ""}
	for name := range tools {
		path, err := exec.LookPath(name)
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing", name)
			}
			t.Skipf("%s is missing; .ci/kubernetes builds it", name)
		}
		tools[name] = path
	}
	dir := t.TempDir()
	etcd, peers, api := freePort(t), freePort(t), freePort(t)
	etcdURL, peersURL := "http://"+etcd, "http://"+peers
	background(t, tools["etcd"], "--data-dir", dir+"/etcd", "--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", peersURL, "--initial-advertise-peer-urls", peersURL, "--initial-cluster", "default="+peersURL)
	write(t, dir+"/sa.key", serviceAccountKey(t))
	write(t, dir+"/tokens.csv", kubeToken+",admin,1,system:masters\n")
	_, port, _ := net.SplitHostPort(api)
	background(t, tools["kube-apiserver"], "--etcd-servers="+etcdURL, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port="+port, "--cert-dir="+dir+"/certs", "--service-account-issuer=https://127.0.0.1",
		"--service-account-key-file="+dir+"/sa.key", "--service-account-signing-key-file="+dir+"/sa.key",
		"--token-auth-file="+dir+"/tokens.csv", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount", "--allow-privileged=true")
	c := &cluster{t: t, url: "https://" + api, config: dir + "/kubeconfig", client: &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}}
	t.Cleanup(c.client.CloseIdleConnections)
	write(t, c.config, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"t",
 "clusters":[{"name":"t","cluster":{"server":%q,"insecure-skip-tls-verify":true}}],"users":[{"name":"t","user":{"token":%q}}],
 "contexts":[{"name":"t","context":{"cluster":"t","user":"t","namespace":%q}}]}`, c.url, kubeToken, kubeNamespace))
	limit := time.After(2 * time.Minute)
	for {
		if code, _, _, err := c.call(http.MethodGet, "/readyz", nil); err == nil && code == http.StatusOK {
			break
		}
		select {
		case <-limit:
			t.Fatal("the API server is not ready after two minutes")
		case <-time.After(100 * time.Millisecond):
		}
	}
	namespace := `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + kubeNamespace + `","labels":{"pod-security.kubernetes.io/enforce":"restricted","pod-security.kubernetes.io/warn":"restricted","pod-security.kubernetes.io/audit":"restricted"}}}`
	if code, body, _, err := c.call(http.MethodPost, "/api/v1/namespaces", []byte(namespace)); err != nil || code != http.StatusCreated {
		t.Fatalf("namespace: %d %s %v", code, body, err)
	}
	return c
}

// call asks the API server; warnings are what it says besides.
func (c *cluster) call(method, path string, body []byte) (code int, answer string, warnings []string, err error) {
	return c.callCapped(method, path, body, 1<<20)
}

func (c *cluster) callCapped(method, path string, body []byte, limit int64) (code int, answer string, warnings []string, err error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Authorization", "Bearer "+kubeToken)
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(io.LimitReader(res.Body, limit))
	return res.StatusCode, string(all), res.Header.Values("Warning"), err
}

// plurals are the resources that our manifests consist of, in the API's words.
var plurals = map[string]string{
	"ServiceAccount": "serviceaccounts", "Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims",
	"Deployment": "deployments", "Service": "services", "ConfigMap": "configmaps", "NetworkPolicy": "networkpolicies",
	"PodDisruptionBudget": "poddisruptionbudgets", "Pod": "pods", "ServiceMonitor": "servicemonitors", "PodMonitor": "podmonitors",
	"PrometheusRule": "prometheusrules",
}

// manifest is what we need to know of one document.
type manifest struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	raw []byte
}

// manifests splits what kustomize and helm print.
func manifests(t *testing.T, text []byte) []manifest {
	t.Helper()
	var all []manifest
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc map[string]any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("manifests: %v", err)
		}
		if doc == nil {
			continue
		}
		var m manifest
		if m.raw, err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(m.raw, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// try has the server check a manifest as strictly as it can, and say what
// `kubectl apply --dry-run=server` would say.
func (c *cluster) try(m manifest) error {
	root := "/apis/" + m.APIVersion
	if m.APIVersion == "v1" {
		root = "/api/v1"
	}
	plural := plurals[m.Kind]
	if plural == "" {
		return fmt.Errorf("%s: a kind that this test does not know", m.Kind)
	}
	path := fmt.Sprintf("%s/namespaces/%s/%s/%s?dryRun=All&fieldManager=test&force=true&fieldValidation=Strict", root, kubeNamespace, plural, m.Metadata.Name)
	code, body, warnings, err := c.call(http.MethodPatch, path, m.raw)
	if err == nil && code != http.StatusOK && code != http.StatusCreated {
		err = fmt.Errorf("%d %s", code, body)
	}
	if err == nil && len(warnings) > 0 {
		err = errors.New(strings.Join(warnings, "; "))
	}
	return err
}

// helm runs it in the chart's folder.
func (c *cluster) helm(args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), tool(c.t, "helm"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.config, "HELM_CACHE_HOME="+filepath.Dir(c.config), "HELM_CONFIG_HOME="+filepath.Dir(c.config), "HELM_DATA_HOME="+filepath.Dir(c.config))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func freePort(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// background runs a server until the test is over; what it said is shown when
// the test has failed.
func background(t *testing.T, name string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(name, args...) //nolint:noctx // ended below
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text := said.String(); t.Failed() {
			t.Logf("%s said at the end: %s", filepath.Base(name), text[max(0, len(text)-2000):])
		}
	})
}

// tool finds a program, or skips, unless the gate runs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing", name)
		}
		t.Skipf("%s is missing; .ci/tools installs it", name)
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func serviceAccountKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}
