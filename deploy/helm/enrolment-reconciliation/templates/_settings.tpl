{{- /* A value of config as the text that an environment holds. Of numbers and truths JSON's form is taken: as a text of
       their own Go would write 1000000 as 1e+06. */ -}}
{{- define "enrolment-reconciliation.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else }}{{ toJson . }}{{ end -}}
{{- end -}}

{{- define "enrolment-reconciliation.variable" -}}
{{- regexReplaceAll "[^A-Z0-9]+" (upper .) "_" -}}
{{- end -}}

{{- /* Every setting's kind by its name: plain, secret (may hold a password) or file (a path). `make settings` makes it. */ -}}
{{- define "enrolment-reconciliation.kinds" -}}
{{- .Files.Get "settings.json" -}}
{{- end -}}

{{- /* What Sunbird's installer tells all charts, as settings. Its Cassandra is YugabyteDB, which takes statements with
       timestamps of our own only where all jobs send them (docs/reliability.md). */ -}}
{{- define "enrolment-reconciliation.global" -}}
{{- $found := dict -}}
{{- $global := default dict .Values.global -}}
{{- with $global.env }}{{ $_ := set $found "env" . }}{{ end -}}
{{- with $global.kafka }}
  {{- if .host }}{{ $_ := set $found "kafka.broker-servers" (printf "%s:%v" .host (default 9092 .port)) }}{{ end -}}
{{- end -}}
{{- with $global.redis }}
  {{- if .host }}{{ $_ := set $found "redis.host" .host }}{{ end -}}
  {{- if .port }}{{ $_ := set $found "redis.port" .port }}{{ end -}}
{{- end -}}
{{- with $global.yugabyte }}
  {{- if .host }}
    {{- $_ := set $found "lms-cassandra.host" .host -}}
    {{- $_ := set $found "lms-cassandra.write.timestamps" false -}}
  {{- end -}}
  {{- if .port }}{{ $_ := set $found "lms-cassandra.port" .port }}{{ end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* The settings that stand in the ConfigMap, as JSON of names and texts. */ -}}
{{- define "enrolment-reconciliation.config" -}}
{{- $texts := dict -}}
{{- range $name, $value := list (include "enrolment-reconciliation.global" . | fromJson) .Values.config | include "enrolment-reconciliation.overlaid" | fromJson -}}
  {{- if not (kindIs "invalid" $value) -}}
    {{- $_ := set $texts $name (include "enrolment-reconciliation.text" $value) -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $texts "metrics.bridge.port" (default "9464" (get $texts "metrics.bridge.port")) -}}
{{- $_ := set $texts "metrics.worker.port" (default "9465" (get $texts "metrics.worker.port")) -}}
{{- toJson $texts -}}
{{- end -}}

{{- /* The port of a part's metrics and health; (dict "root" $ "component" "bridge"). */ -}}
{{- define "enrolment-reconciliation.port" -}}
{{- get (include "enrolment-reconciliation.config" .root | fromJson) (printf "metrics.%s.port" .component) -}}
{{- end -}}

{{- /* Everything that the schema can't say. Ends with one line that names the value and what it may be. */ -}}
{{- define "enrolment-reconciliation.check" -}}
{{- $kinds := include "enrolment-reconciliation.kinds" . | fromJson -}}
{{- $config := include "enrolment-reconciliation.config" . | fromJson -}}
{{- $given := dict -}}
{{- range $place := list "config" "secrets" "existingSecrets" "certificates" -}}
  {{- range $name, $value := get $.Values $place -}}
    {{- $kind := get $kinds $name -}}
    {{- if not $kind -}}
      {{- fail (printf "%s: %q is no setting; docs/settings.md has them all" $place $name) -}}
    {{- end -}}
    {{- if hasKey $given $name -}}
      {{- fail (printf "%s is given twice, in %s and in %s" $name (get $given $name) $place) -}}
    {{- end -}}
    {{- $_ := set $given $name $place -}}
    {{- if and (hasSuffix "ecrets" $place) (ne $kind "secret") -}}
      {{- fail (printf "%s: %s holds no secret: it belongs to config%s" $place $name (ternary " or certificates" "" (eq $kind "file"))) -}}
    {{- end -}}
    {{- if and (eq $place "certificates") (ne $kind "file") -}}
      {{- fail (printf "certificates: %s names no file: only settings that end with .location do" $name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $name, $text := $config -}}
  {{- if eq (get $kinds $name) "secret" -}}
    {{- /* an address without a user is no secret */ -}}
    {{- $isAddress := or (hasSuffix ".url" $name) (hasSuffix ".basePath" $name) -}}
    {{- if or (not $isAddress) (contains "@" $text) (contains "?" $text) -}}
      {{- fail (printf "config: %s may hold a password: give it in secrets or existingSecrets" $name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $component := list "bridge" "worker" -}}
  {{- $port := get $config (printf "metrics.%s.port" $component) -}}
  {{- if not (and (regexMatch "^[1-9][0-9]{0,4}$" $port) (le (int $port) 65535)) -}}
    {{- fail (printf "config: metrics.%s.port is %q, but must be a whole number from 1 to 65535: Kubernetes asks for health there" $component $port) -}}
  {{- end -}}
{{- end -}}
{{- if regexMatch "^(127\\.|localhost$|::1$)" (default "127.0.0.1" (get $config "metrics.address")) -}}
  {{- fail "config: metrics.address must be one that is reached from outside the pod, such as 0.0.0.0: Kubernetes asks for health there" -}}
{{- end -}}
{{- $limit := default "110" (get $config "worker.shutdown.limit") -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?$" $limit) -}}
  {{- fail (printf "config: worker.shutdown.limit is %q, but must be a number of seconds" $limit) -}}
{{- end -}}
{{- $needed := add 10 (ceil (float64 $limit)) -}}
{{- if lt (int .Values.worker.terminationGracePeriodSeconds) (int $needed) -}}
  {{- fail (printf "worker.terminationGracePeriodSeconds is %v, but must be %v or more: worker.shutdown.limit is %s" .Values.worker.terminationGracePeriodSeconds $needed $limit) -}}
{{- end -}}
{{- range $part := list "bridge" "worker" -}}
  {{- $budget := (get $.Values $part).podDisruptionBudget -}}
  {{- if and $budget.enabled (eq (empty (toString $budget.minAvailable)) (empty (toString $budget.maxUnavailable))) -}}
    {{- fail (printf "%s.podDisruptionBudget: give one of minAvailable and maxUnavailable, and leave the other one empty" $part) -}}
  {{- end -}}
{{- end -}}
{{- with .Values.worker.autoscaling -}}
  {{- if gt (int .minReplicas) (int .maxReplicas) -}}
    {{- fail (printf "worker.autoscaling: minReplicas is %v, but must not be above maxReplicas, which is %v" .minReplicas .maxReplicas) -}}
  {{- end -}}
{{- end -}}
{{- with .Values.configFile -}}
  {{- $sources := list -}}
  {{- range $name := list "files" "existingConfigMap" "existingSecret" -}}
    {{- if get $.Values.configFile $name }}{{ $sources = append $sources $name }}{{ end -}}
  {{- end -}}
  {{- if gt (len $sources) 1 -}}
    {{- fail (printf "configFile: %s are given, but only one of them may be" (join " and " $sources)) -}}
  {{- end -}}
  {{- if and .files (not (hasKey .files .name)) -}}
    {{- fail (printf "configFile: files has no %s, which configFile.name says is read" .name) -}}
  {{- end -}}
{{- end -}}
{{- with .Values.flower.auth -}}
  {{- if and .users .existingSecret.name -}}
    {{- fail "flower.auth: give users or existingSecret, not both" -}}
  {{- end -}}
  {{- if ne (empty .existingSecret.name) (empty .existingSecret.key) -}}
    {{- fail "flower.auth.existingSecret: give both name and key" -}}
  {{- end -}}
{{- end -}}
{{- end -}}
