{{- define "enrolment-reconciliation.secretsPath" -}}/etc/enrolment-reconciliation/secrets{{- end -}}
{{- define "enrolment-reconciliation.certificatesPath" -}}/etc/enrolment-reconciliation/certificates{{- end -}}

{{- /* "yes" where Flower has a password. */ -}}
{{- define "enrolment-reconciliation.flowerHasUsers" -}}
{{- if or .Values.flower.auth.users .Values.flower.auth.existingSecret.name }}yes{{ end -}}
{{- end -}}

{{- /* The annotations of a part's pods. A change of what the release itself made starts them anew. Of the Secrets' sums
       eight digits are enough for that, and too few to try passwords against. */ -}}
{{- define "enrolment-reconciliation.podAnnotations" -}}
{{- $own := dict "checksum/config" (include "enrolment-reconciliation.config" . | sha256sum) -}}
{{- with .Values.configFile.files }}{{ $_ := set $own "checksum/config-file" (toJson . | sha256sum | trunc 8) }}{{ end -}}
{{- $_ := set $own "checksum/secrets" (list .Values.secrets .Values.flower.auth.users | toJson | sha256sum | trunc 8) -}}
{{- $all := list .Values.commonAnnotations .Values.podAnnotations $own | include "enrolment-reconciliation.overlaid" | fromJson -}}
{{- include "enrolment-reconciliation.texts" $all -}}
{{- end -}}

{{- /* A Deployment's template, (dict "root" $ "component" "bridge" "container" "…", and "env", "volumes", "volumeMounts"
       where it has more than the others): texts of YAML. Secrets are files, the same for all: each reads all settings. */ -}}
{{- define "enrolment-reconciliation.template" -}}
{{- $part := get .root.Values .component -}}
{{- $root := .root -}}
{{- with .root.Values -}}
metadata:
  labels:
    {{- include "enrolment-reconciliation.labels" (dict "root" $root "component" $.component "extra" .podLabels) | nindent 4 }}
  annotations:
    {{- include "enrolment-reconciliation.podAnnotations" $root | nindent 4 }}
spec:
  serviceAccountName: {{ include "enrolment-reconciliation.serviceAccountName" $root | quote }}
  automountServiceAccountToken: false
  # Kubernetes would tell of a service called redis by REDIS_PORT=tcp://…
  enableServiceLinks: false
  {{- if eq $.component "worker" }}
  # the pause container reaps what a killed worker's processes leave behind
  shareProcessNamespace: true
  {{- end }}
  terminationGracePeriodSeconds: {{ int $part.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .podSecurityContext | nindent 4 }}
  {{- with .image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  {{- with .priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .nodeSelector }}
  nodeSelector:
    {{- include "enrolment-reconciliation.texts" . | nindent 4 }}
  {{- end }}
  {{- with .tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $part.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selected := include "enrolment-reconciliation.selectorLabels" $ | fromYaml }}
    {{- range . }}
    {{- $default := dict "labelSelector" (dict "matchLabels" $selected) }}
    - {{- list $default . | include "enrolment-reconciliation.overlaid" | fromJson | toYaml | nindent 6 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $.component }}
      image: {{ include "enrolment-reconciliation.image" $root | quote }}
      imagePullPolicy: {{ .image.pullPolicy | quote }}
      {{- $.container | nindent 6 }}
      envFrom:
        - configMapRef:
            name: {{ printf "%s-env" (include "enrolment-reconciliation.fullname" $root) | quote }}
      env:
        {{- include "enrolment-reconciliation.env" $root | nindent 8 }}
        {{- with $.env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- range .extraEnv }}
        - name: {{ .name | quote }}
          {{- if hasKey . "valueFrom" }}
          valueFrom:
            {{- toYaml .valueFrom | nindent 12 }}
          {{- else }}
          value: {{ .value | quote }}
          {{- end }}
        {{- end }}
      resources:
        {{- toYaml $part.resources | nindent 8 }}
      securityContext:
        {{- toYaml .securityContext | nindent 8 }}
      volumeMounts:
        # the only place that is written to
        - name: tmp
          mountPath: /tmp
        {{- if or .secrets .existingSecrets }}
        - name: secrets
          mountPath: {{ include "enrolment-reconciliation.secretsPath" $root }}
          readOnly: true
        {{- end }}
        {{- if .certificates }}
        - name: certificates
          mountPath: {{ include "enrolment-reconciliation.certificatesPath" $root }}
          readOnly: true
        {{- end }}
        {{- if include "enrolment-reconciliation.configFileSource" $root }}
        - name: config-file
          mountPath: {{ .configFile.mountPath | quote }}
          readOnly: true
        {{- end }}
        {{- with $.volumeMounts }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "enrolment-reconciliation.volumes" $root | nindent 4 }}
    {{- with $.volumes }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
{{- end -}}

{{- /* Variables that name files; what they hold never stands in a pod's specification. */ -}}
{{- define "enrolment-reconciliation.env" -}}
- name: HOME
  value: /tmp
{{- if include "enrolment-reconciliation.configFileSource" . }}
- name: CONFIG_FILE
  value: {{ printf "%s/%s" (trimSuffix "/" .Values.configFile.mountPath) .Values.configFile.name | quote }}
{{- end }}
{{- range $name, $_ := merge dict .Values.secrets .Values.existingSecrets }}
{{- $variable := include "enrolment-reconciliation.variable" $name }}
- name: {{ $variable }}_FILE
  value: {{ printf "%s/%s" (include "enrolment-reconciliation.secretsPath" $) $variable | quote }}
{{- end }}
{{- range $name, $_ := .Values.certificates }}
{{- $variable := include "enrolment-reconciliation.variable" $name }}
- name: {{ $variable }}
  value: {{ printf "%s/%s" (include "enrolment-reconciliation.certificatesPath" $) $variable | quote }}
{{- end }}
{{- end -}}

{{- /* Where the HOCON files are: a volume's source, or nothing. */ -}}
{{- define "enrolment-reconciliation.configFileSource" -}}
{{- with .Values.configFile -}}
{{- if .existingSecret }}
secret:
  secretName: {{ .existingSecret | quote }}
{{- else if .existingConfigMap }}
configMap:
  name: {{ .existingConfigMap | quote }}
{{- else if .files }}
secret:
  secretName: {{ printf "%s-files" (include "enrolment-reconciliation.fullname" $) | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* 288 is 0440: the group is podSecurityContext.fsGroup. */ -}}
{{- define "enrolment-reconciliation.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if or .Values.secrets .Values.existingSecrets }}
- name: secrets
  projected:
    defaultMode: 288
    sources:
      {{- if .Values.secrets }}
      - secret:
          name: {{ printf "%s-secrets" (include "enrolment-reconciliation.fullname" .) | quote }}
      {{- end }}
      {{- range $name, $from := .Values.existingSecrets }}
      - secret:
          name: {{ $from.name | quote }}
          items:
            - key: {{ $from.key | quote }}
              path: {{ include "enrolment-reconciliation.variable" $name }}
      {{- end }}
{{- end }}
{{- if .Values.certificates }}
- name: certificates
  projected:
    defaultMode: 288
    sources:
      {{- range $name, $from := .Values.certificates }}
      - {{ ternary "secret" "configMap" (hasKey $from "secretName") }}:
          name: {{ default $from.configMapName $from.secretName | quote }}
          items:
            - key: {{ $from.key | quote }}
              path: {{ include "enrolment-reconciliation.variable" $name }}
      {{- end }}
{{- end }}
{{- with include "enrolment-reconciliation.configFileSource" . }}
- name: config-file
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}
