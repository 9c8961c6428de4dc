{{- define "example-app.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
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
- name: emulator
  image: {{ include "ingo-signing-proxy.image" . | quote }}
  imagePullPolicy: {{ $proxy.image.pullPolicy }}
  {{- if $proxy.native }}
  restartPolicy: Always
  {{- end }}
  args:
    - emulator
    - --listen=127.0.0.1:8647
    - --control-listen=off
    - --username={{ $proxy.username }}
    - --secret-file=/run/secrets/ingo/{{ $proxy.secret.key }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  securityContext:
    runAsUser: 65532
    runAsGroup: 65532
    {{- include "example-app.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    - name: ingo-credentials
      mountPath: /run/secrets/ingo
      readOnly: true
{{- end -}}
{{- end }}
