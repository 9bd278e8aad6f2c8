{{- /* How Kubernetes asks a bridge or worker for its health (docs/health.md). */ -}}
{{- define "enrolment-reconciliation.probes" -}}
startupProbe:
  httpGet: {path: /health/live, port: metrics}
  {{- toYaml .Values.probes.startup | nindent 2 }}
livenessProbe:
  httpGet: {path: /health/live, port: metrics}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
readinessProbe:
  httpGet: {path: /health/ready, port: metrics}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
{{- end -}}

{{- /* What a bridge's or worker's container runs, (dict "root" $ "component" "bridge" "command" list). */ -}}
{{- define "enrolment-reconciliation.container" -}}
command: {{ toJson .command }}
ports:
  - name: metrics
    containerPort: {{ include "enrolment-reconciliation.port" . }}
{{ include "enrolment-reconciliation.probes" .root }}
{{- end -}}

{{- /* A Deployment's strategy. Kubernetes takes rollingUpdate, which the chart's values hold, with that type alone. */ -}}
{{- define "enrolment-reconciliation.strategy" -}}
{{- toYaml (eq .type "Recreate" | ternary (omit . "rollingUpdate") .) -}}
{{- end -}}
