{{- /*
What cannot work is refused here, where Helm knows of it, and not by a pod that does not start. All mistakes at once.
What one value must look like, and each key of `config`, is in values.schema.json.
*/}}
{{- define "ingo-signing-proxy.private.refuse" -}}
{{- $values := .Values -}}
{{- $name := .Chart.Name -}}
{{- $config := include "ingo-signing-proxy.private.configuration" . | fromYaml -}}
{{- $environment := list -}}
{{- range $values.env }}{{ $environment = append $environment .name }}{{ end -}}
{{- $mistakes := list -}}

{{- if $config.Error -}}
{{- fail (printf "%s.config cannot be written as YAML: %s" $name $config.Error) -}}
{{- end -}}

{{- /* Where requests go. Nothing is ever sent to an environment that nobody named. */ -}}
{{- if not (or $config.environment (dig "upstream" "url" "" $config)) -}}
{{- range splitList " " (include "ingo-signing-proxy.private.enabledRoutes" $config) -}}
{{- if and . (not (dig "routes" . "url" "" $config)) -}}
{{- $mistakes = append $mistakes (printf "%s.environment is not set, and the route %s has no url; set it to sandbox or production, or %s.upstreamUrl to a host of your own" $name . $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (include "ingo-signing-proxy.private.enabledRoutes" $config) -}}
{{- $mistakes = append $mistakes (printf "%s.routes: no route is enabled; set enabled: true on one" $name) -}}
{{- end -}}

{{- /* Whose signature. */ -}}
{{- $credentials := $config.credentials | default dict -}}
{{- if not (or $credentials.username (has "INGO_PROXY__CREDENTIALS__USERNAME" $environment)) -}}
{{- $mistakes = append $mistakes (printf "%s.username is not set; set it to Ingo's name for the integration" $name) -}}
{{- end -}}
{{- if not (or $credentials.secret_file $credentials.secret_env) -}}
{{- $mistakes = append $mistakes (printf "%s.secret.name is not set; name the Secret that holds the shared secret under the key %s" $name $values.secret.key) -}}
{{- end -}}
{{- if and $credentials.secret_file $credentials.secret_env -}}
{{- $mistakes = append $mistakes (printf "%s.config.credentials.secret_env and a secret file (%s.secret.name) are both set; set one" $name $name) -}}
{{- end -}}

{{- /* A file elsewhere may be mounted by a webhook of the cluster; this folder is of this chart alone. */ -}}
{{- range $key := list "secret_file" "next_secret_file" "api_key_file" -}}
{{- $file := get $credentials $key -}}
{{- if and (hasPrefix "/run/secrets/ingo/" $file) (not $values.secret.name) (not (include "ingo-signing-proxy.private.volumeOf" (list $values $file))) -}}
{{- $mistakes = append $mistakes (printf "%s.config.credentials.%s is %s, where nothing is mounted; name the Secret that holds it by %s.secret.name" $name $key $file $name) -}}
{{- end -}}
{{- end -}}

{{- /* What beats proxy.yaml would make ports and grace here others than the proxy's. */ -}}
{{- range $environment -}}
{{- if and (hasPrefix "INGO_PROXY__" .) (not (hasPrefix "INGO_PROXY__CREDENTIALS__" .)) (not (hasPrefix "INGO_PROXY__UPSTREAM__PROXY__" .)) -}}
{{- $mistakes = append $mistakes (printf "%s.env sets %s, which beats the configuration that ports and grace are computed from; set the key in %s.config" $name . $name) -}}
{{- end -}}
{{- end -}}

{{- /* Who can reach it. */ -}}
{{- $proxy := $config.listeners.proxy.address | toString -}}
{{- if not (or (hasPrefix "127." $proxy) (hasPrefix "[::1]:" $proxy) (hasPrefix "unix:" $proxy) (dig "listeners" "proxy" "tls" "client_ca_file" "" $config)) -}}
{{- $mistakes = append $mistakes (printf "%s.config.listeners.proxy.address is not a loopback address: any pod that can reach it could have payments signed; use 127.0.0.1, or set listeners.proxy.tls with client_ca_file" $name) -}}
{{- end -}}
{{- $health := $config.listeners.health.address | toString -}}
{{- if or (hasPrefix "127." $health) (hasPrefix "[::1]:" $health) (not (include "ingo-signing-proxy.private.port" $health)) -}}
{{- $mistakes = append $mistakes (printf "%s.config.listeners.health.address cannot be reached by the kubelet, which probes it from outside of the pod; use 0.0.0.0:9646 or [::]:9646" $name) -}}
{{- end -}}

{{- /* What outlives the pod, where money moves. */ -}}
{{- $money := list -}}
{{- range splitList " " (include "ingo-signing-proxy.private.enabledRoutes" $config) -}}
{{- if has . (list "process" "debit") }}{{ $money = append $money . }}{{ end -}}
{{- end -}}
{{- $journal := dig "journal" "file" "" $config -}}
{{- if and $money (not $journal) (not $values.dangerNoJournal) -}}
{{- $mistakes = append $mistakes (printf "%s.routes: %s moves money and config.journal.file is not set: nobody would know of a payment that was sent and not answered; set it to a file on a volume that outlives the pod, see docs/journal.md" $name (join ", " $money)) -}}
{{- end -}}
{{- if $journal -}}
{{- $volume := include "ingo-signing-proxy.private.volumeOf" (list $values $journal) -}}
{{- if not $volume -}}
{{- $mistakes = append $mistakes (printf "%s.config.journal.file is %s, where no volume is mounted, and the root file system is read-only; mount one with %s.extraVolumes and %s.extraVolumeMounts" $name $journal $name $name) -}}
{{- end -}}
{{- range $values.extraVolumes -}}
{{- if and (eq .name $volume) (or (hasKey . "emptyDir") (hasKey . "ephemeral")) (not $values.dangerNoJournal) -}}
{{- $mistakes = append $mistakes (printf "%s.config.journal.file is on the volume %s, which goes with the pod; use a persistent volume" $name $volume) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* How long it may take to leave. */ -}}
{{- $drain := include "ingo-signing-proxy.private.drainSeconds" . | int -}}
{{- with $values.terminationGracePeriodSeconds -}}
{{- if le (int .) $drain -}}
{{- $mistakes = append $mistakes (printf "%s.terminationGracePeriodSeconds is %d, and the proxy may take %d s to finish exchanges in flight: it would be killed in the middle of one; leave it unset to have it computed, or set more than %d" $name (int .) $drain $drain) -}}
{{- end -}}
{{- end -}}

{{- /* An older API server drops restartPolicy from an init container, which then never ends: the pod would hang. */ -}}
{{- if and $values.native (semverCompare "<1.29.0-0" $.Capabilities.KubeVersion.Version) -}}
{{- $mistakes = append $mistakes (printf "%s.native is true, and native sidecars need Kubernetes 1.29; this is %s: set it to false" $name $.Capabilities.KubeVersion.Version) -}}
{{- end -}}

{{- if $mistakes -}}
{{- fail (join "\n" (prepend $mistakes "")) -}}
{{- end -}}
{{- end }}

{{- /* The volume of extraVolumeMounts that a file is on; nothing where it is on none. Argument: list VALUES FILE. */}}
{{- define "ingo-signing-proxy.private.volumeOf" -}}
{{- $file := index . 1 -}}
{{- $volume := "" -}}
{{- range (index . 0).extraVolumeMounts -}}
{{- if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) $file }}{{ $volume = .name }}{{ end -}}
{{- end -}}
{{- $volume -}}
{{- end }}
