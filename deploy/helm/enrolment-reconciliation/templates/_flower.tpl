{{- /* Where Flower tells that it is well; everything is below the prefix. */ -}}
{{- define "enrolment-reconciliation.flowerHealth" -}}
{{- $prefix := trimAll "/" .Values.flower.urlPrefix -}}
{{- if $prefix }}/{{ $prefix }}{{ end }}/healthcheck
{{- end -}}

{{- /* What Flower's container runs. Without a password it listens on the pod's own address alone, which Kubernetes'
       question does not reach from outside: then it is asked from within. */ -}}
{{- define "enrolment-reconciliation.flowerContainer" -}}
{{- $path := include "enrolment-reconciliation.flowerHealth" . -}}
command: ["celery", "-A", "worker", "flower"]
ports:
  - name: http
    containerPort: 5555
{{- range $probe, $failures := dict "startupProbe" 12 "livenessProbe" 3 "readinessProbe" 3 }}
{{ $probe }}:
  {{- if include "enrolment-reconciliation.flowerHasUsers" $ }}
  httpGet:
    path: {{ $path | quote }}
    port: http
  {{- else }}
  exec:
    command:
      - python
      - -c
      - {{ printf "from urllib.request import urlopen; urlopen('http://127.0.0.1:5555%s', timeout=4)" $path | quote }}
  {{- end }}
  periodSeconds: {{ ternary 5 30 (eq $probe "startupProbe") }}
  timeoutSeconds: 5
  failureThreshold: {{ $failures }}
{{- end }}
{{- end -}}

{{- define "enrolment-reconciliation.flowerEnv" -}}
- name: FLOWER_ADDRESS
  value: {{ ternary "0.0.0.0" "127.0.0.1" (eq (include "enrolment-reconciliation.flowerHasUsers" .) "yes") | quote }}
- name: FLOWER_PORT
  value: "5555"
- name: FLOWER_MAX_TASKS
  value: {{ int .Values.flower.maxTasks | quote }}
{{- if include "enrolment-reconciliation.flowerHasUsers" . }}
- name: FLOWER_BASIC_AUTH_FILE
  value: /etc/enrolment-reconciliation/flower/users
{{- end }}
{{- if .Values.flower.readOnly }}
- name: FLOWER_READ_ONLY
  value: "true"
{{- end }}
{{- with trimAll "/" .Values.flower.urlPrefix }}
- name: FLOWER_URL_PREFIX
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "enrolment-reconciliation.flowerVolume" -}}
{{- $existing := .Values.flower.auth.existingSecret -}}
- name: flower
  secret:
    secretName: {{ default (printf "%s-flower" (include "enrolment-reconciliation.fullname" .)) $existing.name | quote }}
    defaultMode: 288
    items:
      - key: {{ default "users" $existing.key | quote }}
        path: users
{{- end -}}
