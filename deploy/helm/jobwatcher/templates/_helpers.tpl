{{- define "jobwatcher.name" -}}
{{- if contains "jobwatcher" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-jobwatcher" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "jobwatcher.selector" -}}
app.kubernetes.io/name: jobwatcher
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jobwatcher.labels" -}}
{{ include "jobwatcher.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "jobwatcher.account" -}}
{{ .Values.serviceAccount.name | default (include "jobwatcher.name" .) }}
{{- end }}

{{- define "jobwatcher.sqlite" -}}{{ if eq .Values.store.type "sqlite" }}yes{{ end }}{{- end }}

{{- /* What cannot be is refused before anything is installed. */ -}}
{{- define "jobwatcher.check" -}}
{{- if and (include "jobwatcher.sqlite" .) (gt (int .Values.replicas) 1) }}
{{- fail (printf "replicas: %d with store.type sqlite: SQLite belongs to one process; set store.type to postgres for several" (int .Values.replicas)) }}
{{- end }}
{{- range $name := list "JOBWATCHER_STORE" "JOBWATCHER_LISTEN" "JOBWATCHER_DESTINATIONS_FILE" "JOBWATCHER_JOB_IDS_FILE" "ZUORA_BASE_URL" }}
{{- if hasKey $.Values.env $name }}{{ fail (printf "env.%s: this chart sets it itself" $name) }}{{ end }}
{{- end }}
{{- end }}
