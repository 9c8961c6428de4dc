{{- define "example-app.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* What the two pods have in common, apart from their containers. */}}
{{- define "example-app.pod" -}}
terminationGracePeriodSeconds: {{ include "ingo-signing-proxy.terminationGracePeriodSeconds" . }}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
  {{- with .Values.fsGroup }}
  fsGroup: {{ . }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
{{- $emulator := include "example-app.emulator" . }}
{{- $native := (index .Values "ingo-signing-proxy").native }}
{{- if $native }}
initContainers:
  {{- with $emulator }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- include "ingo-signing-proxy.initContainers" . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The sidecar where it is an ordinary container, and the emulator with it. */}}
{{- define "example-app.containers" -}}
{{- if not (index .Values "ingo-signing-proxy").native -}}
{{- include "example-app.emulator" . }}
{{ include "ingo-signing-proxy.containers" . }}
{{- end -}}
{{- end }}

{{- define "example-app.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Ingo's stand-in: the same program, in the same pod. */}}
{{- define "example-app.emulator" -}}
{{- if .Values.emulator.enabled -}}
{{- $proxy := index .Values "ingo-signing-proxy" -}}
- name: ingo-emulator
  image: {{ include "ingo-signing-proxy.image" . | quote }}
  {{- with $proxy.image.pullPolicy }}
  imagePullPolicy: {{ . }}
  {{- end }}
  {{- if $proxy.native }}
  restartPolicy: Always
  {{- end }}
  args: [emulator, --username, {{ $proxy.username | quote }}, --secret-file, /run/secrets/ingo/{{ $proxy.secret.key }}]
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 128Mi}
  securityContext:
    {{- toYaml $proxy.securityContext | nindent 4 }}
  volumeMounts:
    - name: ingo-credentials
      mountPath: /run/secrets/ingo
      readOnly: true
{{- end -}}
{{- end }}
