{{- /*
proxy.yaml, made from the values. `config` is laid over what the other values make, key by key; whatever else is
computed (ports, grace, paths) is read from the result, so that it holds however a key was set.
*/}}
{{- define "ingo-signing-proxy.private.configuration" -}}
{{- $values := .Values -}}
{{- $config := deepCopy ($values.config | default dict) -}}
{{- include "ingo-signing-proxy.private.plain" $config -}}
{{- $made := dict
      "threads" $values.threads
      "log_format" "json"
      "limits" (deepCopy ($values.limits | default dict))
      "routes" (deepCopy ($values.routes | default dict))
      "listeners" (dict
        "proxy" (dict "address" "127.0.0.1:8646")
        "health" (dict "address" "0.0.0.0:9646")) -}}
{{- with $values.environment }}{{ $_ := set $made "environment" . }}{{ end -}}
{{- with $values.upstreamUrl }}{{ $_ := set $made "upstream" (dict "url" .) }}{{ end -}}
{{- $credentials := dict -}}
{{- with $values.username }}{{ $_ := set $credentials "username" . }}{{ end -}}
{{- if $values.secret.name -}}
{{- $_ := set $credentials "secret_file" (printf "/run/secrets/ingo/%s" $values.secret.key) -}}
{{- end -}}
{{- $_ := set $made "credentials" $credentials -}}
{{- if $values.quitquitquit -}}
{{- $_ := set $made.listeners "admin" (dict "address" "127.0.0.1:9648") -}}
{{- end -}}
{{- if not $values.native -}}
{{- /* The app gets its SIGTERM at the same moment, and still has calls to make. */ -}}
{{- $_ := set $made "shutdown_delay" "20s" -}}
{{- end -}}
{{- include "ingo-signing-proxy.private.plain" $made -}}
{{- $made = mergeOverwrite $made $config -}}
{{- /* Helm reads a bare off as false. Where a key knows off, false cannot mean anything else. */ -}}
{{- range $path := list "listeners.admin.address" "routes.create_session.validation" "routes.create_session.refresh_url_below" "rate_limit.per_second" -}}
{{- $section := $made -}}
{{- $keys := splitList "." $path -}}
{{- range initial $keys }}{{ $section = get ($section | default dict) . | default dict }}{{ end -}}
{{- if and (hasKey $section (last $keys)) (kindIs "bool" (get $section (last $keys))) (not (get $section (last $keys))) -}}
{{- $_ := set $section (last $keys) "off" -}}
{{- end -}}
{{- end -}}
{{- /* Sections with nothing in them say nothing. */ -}}
{{- range $name, $section := $made -}}
{{- if and (kindIs "map" $section) (not $section) }}{{ $_ := unset $made $name }}{{ end -}}
{{- end -}}
{{- toYaml $made -}}
{{- end }}

{{- /*
Changes a mapping in place, at every depth: what is null is not set; and small numbers, which Helm would write as 1e-05, are
written as the program reads them.
*/}}
{{- define "ingo-signing-proxy.private.plain" -}}
{{- $mapping := . -}}
{{- range $name, $value := . -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $mapping $name -}}
{{- else if kindIs "map" $value -}}
{{- include "ingo-signing-proxy.private.plain" $value -}}
{{- else if kindIs "slice" $value -}}
{{- $items := list -}}
{{- range $value }}{{ $items = append $items (include "ingo-signing-proxy.private.number" . | default .) }}{{ end -}}
{{- $_ := set $mapping $name $items -}}
{{- else -}}
{{- $_ := set $mapping $name (include "ingo-signing-proxy.private.number" $value | default $value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- /* A small number, written out; nothing for all else. */}}
{{- define "ingo-signing-proxy.private.number" -}}
{{- if and (kindIs "float64" .) (ne (float64 .) 0.0) (lt (float64 .) 0.0001) -}}
{{- printf "%.12f" . | trimAll "0" | printf "0%s" -}}
{{- end -}}
{{- end }}

{{- define "ingo-signing-proxy.private.proxyYaml" -}}
{{- include "ingo-signing-proxy.private.configuration" . -}}
{{- end }}

{{- /*
What a change of which must replace the pods: all of proxy.yaml; or, where the proxy takes a changed file by itself, the
sections that hold keys which it reads at the start only (docs/reload.md, with which a test compares this list).
*/}}
{{- define "ingo-signing-proxy.private.podAnnotations" -}}
{{- $configuration := include "ingo-signing-proxy.private.configuration" . -}}
{{- if include "ingo-signing-proxy.private.reloads" . -}}
{{- $parsed := fromYaml $configuration -}}
{{- $configuration = toYaml (pick $parsed "threads" "log_format" "reload_on_change" "listeners" "limits" "journal" "histograms" "tracing") -}}
{{- end -}}
checksum/{{ .Chart.Name }}: {{ sha256sum $configuration }}
{{- end }}

{{- define "ingo-signing-proxy.private.podLabels" -}}
ingo-signing-proxy/inject: "true"
{{- end }}

{{- /*
Another configuration is another ConfigMap, so that a pod of before which starts again, and a roll-back, find the one that they
were made for. As hooks the former ones stay: Helm deletes what a release no longer has, and `helm.sh/resource-policy: keep` would
make `helm rollback` and `--atomic` fail (helm/helm#8228). Where the proxy takes a changed file by itself the name must stay.
*/}}
{{- define "ingo-signing-proxy.private.configMap" -}}
{{- $reloads := include "ingo-signing-proxy.private.reloads" . -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "ingo-signing-proxy.private.configMapName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
  labels:
    {{- include "ingo-signing-proxy.private.labels" . | nindent 4 }}
  {{- if not $reloads }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade,pre-rollback
    helm.sh/hook-delete-policy: before-hook-creation
immutable: true
  {{- end }}
data:
  proxy.yaml: |
    # Made by Helm from the values of the chart ingo-signing-proxy: change them, not this.
    {{- include "ingo-signing-proxy.private.configuration" . | nindent 4 }}
{{- end }}

{{- define "ingo-signing-proxy.private.configMapName" -}}
{{- include "ingo-signing-proxy.private.name" . -}}
{{- if not (include "ingo-signing-proxy.private.reloads" .) -}}
-{{ include "ingo-signing-proxy.private.configuration" . | sha256sum | trunc 10 }}
{{- end -}}
{{- end }}

{{- /* "true" where the proxy takes a changed file by itself, else nothing. */}}
{{- define "ingo-signing-proxy.private.reloads" -}}
{{- $config := include "ingo-signing-proxy.private.configuration" . | fromYaml -}}
{{- if eq (toString $config.reload_on_change) "true" }}true{{ end -}}
{{- end }}

{{- define "ingo-signing-proxy.private.name" -}}
{{- $name := .Values.nameOverride -}}
{{- if not $name -}}
{{- $name = ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- end -}}
{{- tpl $name . | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "ingo-signing-proxy.private.labels" -}}
app.kubernetes.io/name: ingo-signing-proxy
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "ingo-signing-proxy-%s" .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ingo-signing-proxy.private.url" -}}
{{- $proxy := (include "ingo-signing-proxy.private.configuration" . | fromYaml).listeners.proxy -}}
{{- if hasPrefix "unix:" $proxy.address }}{{ fail (printf "ingo-signing-proxy.url: the proxy listens on %s, which has no URL" $proxy.address) }}{{ end -}}
{{ ternary "https" "http" (dig "tls" "certificate_file" "" $proxy | empty | not) }}://{{ $proxy.address }}
{{- end }}

{{- /* The port of an address IP:PORT; nothing where it is none. */}}
{{- define "ingo-signing-proxy.private.port" -}}
{{- if not (hasPrefix "unix:" .) }}{{ regexFind "[0-9]+$" . }}{{ end -}}
{{- end }}

{{- /*
A duration of the configuration in whole seconds, rounded up: 10s, 100ms, 1.5m, a bare number of seconds. Nothing where it
is none.
*/}}
{{- define "ingo-signing-proxy.private.seconds" -}}
{{- $text := toString . -}}
{{- if regexMatch "^[0-9]+([.][0-9]{1,3})?(ms|s|m)?$" $text -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "m" }}{{ $number = mulf $number 60 }}{{ end -}}
{{- if eq $unit "ms" }}{{ $number = divf $number 1000 }}{{ end -}}
{{- ceil $number | int -}}
{{- end -}}
{{- end }}

{{- /*
For how many seconds the proxy may go on after SIGTERM: shutdown_delay and shutdown_limit, which by default is the longest
deadline of an enabled route and 5 seconds.
*/}}
{{- define "ingo-signing-proxy.private.drainSeconds" -}}
{{- $config := include "ingo-signing-proxy.private.configuration" . | fromYaml -}}
{{- $limit := include "ingo-signing-proxy.private.seconds" ($config.shutdown_limit | default "") -}}
{{- if eq $limit "" -}}
{{- $longest := 0 -}}
{{- range $name := splitList " " (include "ingo-signing-proxy.private.enabledRoutes" $config) -}}
{{- $default := ternary "90s" "30s" (has $name (list "process" "debit")) -}}
{{- $deadline := dig "routes" $name "deadline" $default $config -}}
{{- $longest = max $longest (include "ingo-signing-proxy.private.seconds" $deadline | int) -}}
{{- end -}}
{{- $limit = add $longest 5 -}}
{{- end -}}
{{- add (include "ingo-signing-proxy.private.delaySeconds" .) $limit -}}
{{- end }}

{{- define "ingo-signing-proxy.private.delaySeconds" -}}
{{- $config := include "ingo-signing-proxy.private.configuration" . | fromYaml -}}
{{- include "ingo-signing-proxy.private.seconds" ($config.shutdown_delay | default "0") | int -}}
{{- end }}

{{- /* The names of the enabled routes, in one line. Argument: the configuration. */}}
{{- define "ingo-signing-proxy.private.enabledRoutes" -}}
{{- $routes := .routes | default dict -}}
{{- $enabled := list -}}
{{- if ne (toString (dig "create_session" "enabled" true $routes)) "false" }}{{ $enabled = append $enabled "create_session" }}{{ end -}}
{{- range $name, $route := $routes -}}
{{- if and (ne $name "create_session") (eq (toString (dig "enabled" false ($route | default dict))) "true") }}{{ $enabled = append $enabled $name }}{{ end -}}
{{- end -}}
{{- join " " $enabled -}}
{{- end }}
