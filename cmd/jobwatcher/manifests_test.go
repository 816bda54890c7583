package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	kubernetesDir = "../../deploy/kubernetes/"
	chartDir      = "../../deploy/helm/jobwatcher"
)

func kustomized(t *testing.T, dir string) []manifest {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool(t, "kustomize"), "build", kubernetesDir+dir).Output()
	if err != nil {
		t.Fatalf("kustomize build %s: %v", dir, err)
	}
	return manifests(t, out)
}

// charts are values with which the chart is tried.
var charts = map[string][]string{
	"as it comes": nil,
	"postgres": {
		"--set", "store.type=postgres", "--set", "replicas=3",
		"--set", "zuora.bearerToken=true", "--set", "zuora.apiReadToken=true", "--set", "networkPolicy.extraPorts={8443}",
	},
	"all of it": {
		"--set", "serviceMonitor.enabled=true", "--set", "podMonitor.enabled=true", "--set", "prometheusRule.enabled=true",
		"--set", "env.JOBWATCHER_DEADLINE=2h", "--set", "jobIds={3a3e85c4-96e7-486b-ae02-827120104301}",
		"--set-json", `destinations=[{"name":"loader","webhook":{"url":"https://loader.example.com/x"}}]`,
		"--set", "nodeSelector.disk=ssd", "--set", "podLabels.team=finance", "--set", "podAnnotations.note=yes",
		"--set", "serviceAccount.annotations.a=b", "--set", "store.sqlite.storageClass=fast",
	},
}

// template renders the chart as for a cluster of today.
func (c *cluster) template(set ...string) (string, error) {
	return c.helm(append([]string{"template", "jobs", chartDir, "--namespace", kubeNamespace, "--kube-version", "1.34.4"}, set...)...)
}

func TestRealAPIServerTakesTheManifestsInARestrictedNamespace(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.define("servicemonitors", "podmonitors", "prometheusrules")
	schemas := c.schemas()
	check := func(t *testing.T, all []manifest) {
		t.Helper()
		if len(all) < 2 {
			t.Errorf("%d manifests", len(all))
		}
		for _, m := range all {
			if err := c.try(m); err != nil {
				t.Errorf("%s %s: %v", m.Kind, m.Metadata.Name, err)
			}
			if !strings.HasPrefix(m.APIVersion, "monitoring.coreos.com/") {
				if err := conforms(t, schemas, m); err != nil {
					t.Errorf("%s %s: %v", m.Kind, m.Metadata.Name, err)
				}
			}
		}
	}
	for _, dir := range []string{"base", "overlays/sqlite", "overlays/postgres", "monitoring"} {
		t.Run(dir, func(t *testing.T) { check(t, kustomized(t, dir)) })
	}
	for name, set := range charts {
		t.Run("chart "+name, func(t *testing.T) {
			out, err := c.template(set...)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			check(t, manifests(t, []byte(out)))
		})
	}
	t.Run("what is wrong is found", func(t *testing.T) {
		for _, m := range kustomized(t, "base") {
			if m.Kind != "Deployment" {
				continue
			}
			for old, broken := range map[string]string{`"replicas"`: `"replicaz"`, `"runAsNonRoot":true`: `"runAsNonRoot":false`, `"drop":["ALL"]`: `"add":["SYS_ADMIN"]`} {
				bad := m
				bad.raw = []byte(strings.ReplaceAll(string(m.raw), old, broken))
				if string(bad.raw) == string(m.raw) {
					t.Errorf("%s is not in the Deployment", old)
				} else if err := c.try(bad); err == nil {
					t.Errorf("%s passes", broken)
				} else if broken == `"replicaz"` && conforms(t, schemas, bad) == nil {
					t.Errorf("%s passes kubeconform", broken)
				}
			}
		}
	})
	t.Run("chart installed, upgraded and removed", func(t *testing.T) {
		for _, args := range [][]string{
			{"install", "jobs", chartDir, "--namespace", kubeNamespace},
			{"upgrade", "jobs", chartDir, "--namespace", kubeNamespace, "--set", "env.JOBWATCHER_DEADLINE=2h"},
			{"uninstall", "jobs", "--namespace", kubeNamespace},
		} {
			out, err := c.helm(args...)
			if err != nil || strings.Contains(strings.ToLower(out), "warning") {
				t.Fatalf("helm %s: %v\n%s", args[0], err, out)
			}
			if args[0] == "install" && !strings.Contains(out, "Nobody is told yet") {
				t.Errorf("the notes say nothing of missing destinations:\n%s", out)
			}
		}
		code, body, _, err := c.call("GET", "/api/v1/namespaces/"+kubeNamespace+"/persistentvolumeclaims/jobs-jobwatcher", nil)
		if err != nil || code != 200 {
			t.Errorf("the volume did not outlive the release: %d %s %v", code, body, err)
		}
	})
}

func TestChartRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, config: t.TempDir() + "/none"}
	for set, want := range map[string]string{
		"replicas=2":                     "SQLite belongs to one process",
		"replicas=0":                     "replicas",
		"replica=1":                      "replica",
		"store.type=mysql":               "/store/type",
		"zuora.baseUrl=http://x":         "/zuora/baseUrl",
		"env.JOBWATCHER_STORE=sqlite:x":  "env.JOBWATCHER_STORE",
		"env.DEADLINE=2h":                "DEADLINE",
		"jobIds={nonsense}":              "jobIds",
		"networkPolicy.extraPorts={0}":   "extraPorts",
		"serviceMonitor.interval=often":  "interval",
		"store.sqlite.size=plenty":       "size",
		"podDisruptionBudget.maximum=1":  "maximum",
		"terminationGracePeriodSeconds=": "terminationGracePeriodSeconds",
	} {
		out, err := c.template("--set", set)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("--set %s: %v, want a refusal that says %q\n%s", set, err, want, out[:min(len(out), 600)])
		}
	}
	if out, err := c.helm("lint", "--strict", chartDir); err != nil {
		t.Errorf("helm lint: %v\n%s", err, out)
	}
}

// The alerts are written once and wrapped in two ways; -update wraps them anew.
func TestWrappedRulesAreTheRules(t *testing.T) {
	t.Parallel()
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	indented := strings.ReplaceAll("  "+strings.TrimSuffix(string(rules), "\n"), "\n", "\n  ")
	indented = strings.ReplaceAll(indented, "\n  \n", "\n\n")
	for path, want := range map[string]string{
		chartDir + "/files/rules.yaml":                   string(rules),
		kubernetesDir + "monitoring/prometheusrule.yaml": "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: jobwatcher\nspec:\n" + indented + "\n",
	} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s differs from deploy/prometheus/rules.yaml: run this test with -update", path)
		}
	}
}

// What every rendering has in common, whoever takes it.
func TestEveryWayToDeployIsEquallyStrict(t *testing.T) {
	t.Parallel()
	c := &cluster{t: t, config: t.TempDir() + "/none"}
	all := map[string][]manifest{}
	for _, dir := range []string{"base", "overlays/sqlite", "overlays/postgres"} {
		all[dir] = kustomized(t, dir)
	}
	for name, set := range charts {
		out, err := c.template(set...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		all["chart "+name] = manifests(t, []byte(out))
	}
	for name, rendered := range all {
		i := slices.IndexFunc(rendered, func(m manifest) bool { return m.Kind == "Deployment" })
		if i < 0 {
			t.Errorf("%s: no Deployment", name)
			continue
		}
		text := string(rendered[i].raw)
		for _, want := range []string{
			`"automountServiceAccountToken":false`, `"enableServiceLinks":false`, `"runAsNonRoot":true`, `"seccompProfile":{"type":"RuntimeDefault"}`,
			`"allowPrivilegeEscalation":false`, `"readOnlyRootFilesystem":true`, `"drop":["ALL"]`, `"startupProbe"`, `"livenessProbe"`, `"readinessProbe"`,
			`"requests"`, `"limits"`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
		sqlite := strings.Contains(text, "sqlite:/data/")
		if sqlite != strings.Contains(text, `"type":"Recreate"`) || sqlite != strings.Contains(text, `"replicas":1`) || sqlite == strings.Contains(text, "topologySpreadConstraints") {
			t.Errorf("%s: SQLite takes one replica and Recreate, PostgreSQL neither", name)
		}
		if budgets := slices.ContainsFunc(rendered, func(m manifest) bool { return m.Kind == "PodDisruptionBudget" }); budgets == sqlite {
			t.Errorf("%s: a PodDisruptionBudget is for several replicas", name)
		}
		for _, m := range rendered {
			if m.Kind == "ServiceAccount" && !strings.Contains(string(m.raw), `"automountServiceAccountToken":false`) {
				t.Errorf("%s: the ServiceAccount has a token", name)
			}
		}
		if fmt.Sprint(name) != "base" && !slices.ContainsFunc(rendered, func(m manifest) bool { return m.Kind == "NetworkPolicy" }) {
			t.Errorf("%s: no NetworkPolicy", name)
		}
	}
}
