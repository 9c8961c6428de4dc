{{- define "ingo-signing-proxy.private.initContainers" -}}
{{- if .Values.native -}}
{{- include "ingo-signing-proxy.private.item" . -}}
{{- end -}}
{{- end }}

{{- define "ingo-signing-proxy.private.containers" -}}
{{- if not .Values.native -}}
{{- include "ingo-signing-proxy.private.item" . -}}
{{- end -}}
{{- end }}

{{- define "ingo-signing-proxy.private.item" -}}
{{- $lines := include "ingo-signing-proxy.private.container" . | indent 2 -}}
- {{ $lines | trimPrefix "  " }}
{{- end }}

{{- define "ingo-signing-proxy.private.container" -}}
{{- $config := include "ingo-signing-proxy.private.configuration" . | fromYaml -}}
{{- $listeners := $config.listeners -}}
name: ingo-signing-proxy
image: {{ include "ingo-signing-proxy.private.image" . | quote }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- if .Values.native }}
# An init container that goes on: up before the service, down after it, and no reason for a Job to wait.
restartPolicy: Always
{{- end }}
args: [serve, --config, /etc/ingo-signing-proxy/proxy.yaml]
{{- $env := list }}
{{- with .Values.logLevel }}{{ $env = append $env (dict "name" "RUST_LOG" "value" .) }}{{ end }}
{{- with concat $env .Values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: ingo-health
    containerPort: {{ include "ingo-signing-proxy.private.port" $listeners.health.address }}
{{- range $name := list "startup" "readiness" "liveness" }}
{{- with get $.Values.probes $name }}
{{ $name }}Probe:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: ingo-signing-proxy
    mountPath: /etc/ingo-signing-proxy
    readOnly: true
  {{- if .Values.secret.name }}
  # The whole volume, no subPath: the kubelet never updates a file that is mounted by subPath.
  - name: ingo-credentials
    mountPath: /run/secrets/ingo
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "ingo-signing-proxy.private.volumes" -}}
- name: ingo-signing-proxy
  configMap:
    name: {{ include "ingo-signing-proxy.private.configMapName" . | quote }}
    defaultMode: 292
{{- with .Values.secret.name }}
- name: ingo-credentials
  secret:
    secretName: {{ tpl . $ | quote }}
    defaultMode: {{ $.Values.secret.defaultMode }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ingo-signing-proxy.private.image" -}}
{{- $image := .Values.image -}}
{{- $image.repository -}}
{{- if not (and $image.digest (not $image.tag)) }}:{{ $image.tag | default .Chart.AppVersion }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end }}

{{- /*
The proxy goes after the app: a native sidecar gets SIGTERM when the other containers have ended; one that is not goes on for
shutdown_delay meanwhile. Either way the pod has to live for both, and a little more.
*/}}
{{- define "ingo-signing-proxy.private.terminationGracePeriodSeconds" -}}
{{- with .Values.terminationGracePeriodSeconds -}}
{{- int . -}}
{{- else -}}
{{- $drain := include "ingo-signing-proxy.private.drainSeconds" . | int -}}
{{- $app := int .Values.appGraceSeconds -}}
{{- if not .Values.native -}}
{{- $delay := include "ingo-signing-proxy.private.delaySeconds" . | int -}}
{{- $app = sub (max $app $delay) $delay -}}
{{- end -}}
{{- add $app $drain 5 -}}
{{- end -}}
{{- end }}

{{- define "ingo-signing-proxy.private.podMonitor" -}}
{{- with .Values.podMonitor -}}
{{- if .enabled -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "ingo-signing-proxy.private.name" $ | quote }}
  namespace: {{ $.Release.Namespace | quote }}
  labels:
    {{- include "ingo-signing-proxy.private.labels" $ | nindent 4 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- toYaml (.matchLabels | default (dict "app.kubernetes.io/instance" $.Release.Name)) | nindent 6 }}
  podMetricsEndpoints:
    - port: ingo-health
      path: /metrics
      interval: {{ .interval }}
      relabelings:
        # The alerts and the dashboard choose by this name of the job.
        - targetLabel: job
          replacement: ingo-signing-proxy
{{- end -}}
{{- end -}}
{{- end }}
