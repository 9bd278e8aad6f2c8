{{- /* The chart's name, or nameOverride. */ -}}
{{- define "enrolment-reconciliation.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* What every object's name begins with. 52 characters leave room for "-bridge" and its like within the 63 that
       Services and labels may have. A release's name may hold dots, or begin with a digit; a Service's must not. */ -}}
{{- define "enrolment-reconciliation.fullname" -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
  {{- $name := default .Chart.Name .Values.nameOverride -}}
  {{- $release := .Release.Name | replace "." "-" -}}
  {{- $full = ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- end -}}
{{- $full = regexReplaceAll "-+$" ($full | trunc 52) "" -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
  {{- fail (printf "a Service's name must begin with a letter, and %s does not: set fullnameOverride" $full) -}}
{{- end -}}
{{- $full -}}
{{- end -}}

{{- define "enrolment-reconciliation.serviceAccountName" -}}
{{- $made := ternary (include "enrolment-reconciliation.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{- define "enrolment-reconciliation.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* What selects the pods of a component, or of all where it is empty; (dict "root" $ "component" "bridge"). These
       can't change in the life of a Deployment, so no version is among them. */ -}}
{{- define "enrolment-reconciliation.selectorLabels" -}}
app.kubernetes.io/name: {{ include "enrolment-reconciliation.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- end -}}

{{- /* The maps of a list as one, as JSON: of a name that several have, the last one's value. (Sprig's merge takes an
       empty text for none.) */ -}}
{{- define "enrolment-reconciliation.overlaid" -}}
{{- $all := dict -}}
{{- range . -}}
  {{- range $name, $value := . -}}
    {{- $_ := set $all $name $value -}}
  {{- end -}}
{{- end -}}
{{- toJson $all -}}
{{- end -}}

{{- /* All labels of an object; "extra" are further ones. None that is given takes the place of one of ours. */ -}}
{{- define "enrolment-reconciliation.labels" -}}
{{- $own := include "enrolment-reconciliation.selectorLabels" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_")) -}}
{{- $all := list .root.Values.commonLabels .extra $own | include "enrolment-reconciliation.overlaid" | fromJson -}}
{{- include "enrolment-reconciliation.texts" $all -}}
{{- end -}}

{{- /* Name, labels and annotations of an object; (dict "root" $ "name" "…" "component" "…" "extra" dict). */ -}}
{{- define "enrolment-reconciliation.metadata" -}}
name: {{ .name | quote }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "enrolment-reconciliation.labels" . | nindent 2 }}
{{- with list .root.Values.commonAnnotations .annotations | include "enrolment-reconciliation.overlaid" | fromJson }}
annotations:
  {{- include "enrolment-reconciliation.texts" . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A map of texts, each in double quotes with everything special escaped. */ -}}
{{- define "enrolment-reconciliation.texts" -}}
{{- $lines := list -}}
{{- range $name, $text := . -}}
  {{- $lines = append $lines (printf "%s: %s" (quote $name) (quote $text)) -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}
