{{- /*
What a chart includes. Each takes the root context of the chart, `$`; under an alias, `.Subcharts.<alias>`.
What they make of the values is in the other files; nothing outside of this chart should include from there.
Each refuses values that cannot work, with every mistake at once, so that whichever part is included first says so.
*/}}

{{- /* Items of a pod's initContainers: the sidecar where it is native, else nothing. */}}
{{- define "ingo-signing-proxy.initContainers" -}}
{{- include "ingo-signing-proxy.private.make" (list "initContainers" .) -}}
{{- end }}

{{- /* Items of a pod's containers: the sidecar where `native` is false, else nothing. */}}
{{- define "ingo-signing-proxy.containers" -}}
{{- include "ingo-signing-proxy.private.make" (list "containers" .) -}}
{{- end }}

{{- /* The container itself, a mapping: what the two above make an item of. */}}
{{- define "ingo-signing-proxy.container" -}}
{{- include "ingo-signing-proxy.private.make" (list "container" .) -}}
{{- end }}

{{- /* Items of a pod's volumes. */}}
{{- define "ingo-signing-proxy.volumes" -}}
{{- include "ingo-signing-proxy.private.make" (list "volumes" .) -}}
{{- end }}

{{- /* Entries of a pod template's annotations: with another configuration they are others, and the pods are replaced. */}}
{{- define "ingo-signing-proxy.podAnnotations" -}}
{{- include "ingo-signing-proxy.private.make" (list "podAnnotations" .) -}}
{{- end }}

{{- /* Entries of a pod template's labels: what a PodMonitor for all sidecars of a namespace or a cluster selects. */}}
{{- define "ingo-signing-proxy.podLabels" -}}
{{- include "ingo-signing-proxy.private.make" (list "podLabels" .) -}}
{{- end }}

{{- /* The number for a pod's terminationGracePeriodSeconds. */}}
{{- define "ingo-signing-proxy.terminationGracePeriodSeconds" -}}
{{- include "ingo-signing-proxy.private.make" (list "terminationGracePeriodSeconds" .) -}}
{{- end }}

{{- /* The ConfigMap, a manifest. */}}
{{- define "ingo-signing-proxy.configMap" -}}
{{- include "ingo-signing-proxy.private.make" (list "configMap" .) -}}
{{- end }}

{{- /* The PodMonitor, a manifest, where it is enabled; else nothing. */}}
{{- define "ingo-signing-proxy.podMonitor" -}}
{{- include "ingo-signing-proxy.private.make" (list "podMonitor" .) -}}
{{- end }}

{{- /* What the service in the pod posts to: its base URL. */}}
{{- define "ingo-signing-proxy.url" -}}
{{- include "ingo-signing-proxy.private.make" (list "url" .) -}}
{{- end }}

{{- /* The name of the PodMonitor, and what that of the ConfigMap begins with. */}}
{{- define "ingo-signing-proxy.name" -}}
{{- include "ingo-signing-proxy.private.make" (list "name" .) -}}
{{- end }}

{{- /* The image with its tag or digest, for another container of the same program. */}}
{{- define "ingo-signing-proxy.image" -}}
{{- include "ingo-signing-proxy.private.make" (list "image" .) -}}
{{- end }}

{{- /* proxy.yaml as it stands in the ConfigMap. */}}
{{- define "ingo-signing-proxy.proxyYaml" -}}
{{- include "ingo-signing-proxy.private.make" (list "proxyYaml" .) -}}
{{- end }}

{{- /*
Finds the library's own context, which knows its values and its version, and makes a part in it.
*/}}
{{- define "ingo-signing-proxy.private.make" -}}
{{- $part := index . 0 -}}
{{- $context := index . 1 -}}
{{- if not (and (kindIs "map" $context) (hasKey $context "Chart") (hasKey $context "Subcharts")) -}}
{{- fail (printf "ingo-signing-proxy.%s was included without the chart's root context; write: include \"ingo-signing-proxy.%s\" $" $part $part) -}}
{{- end -}}
{{- if ne $context.Chart.Type "library" -}}
{{- if not (hasKey $context.Subcharts "ingo-signing-proxy") -}}
{{- fail (printf "chart %s has no dependency of the name ingo-signing-proxy; where it has one by an alias, write: include \"ingo-signing-proxy.%s\" .Subcharts.<alias>" $context.Chart.Name $part) -}}
{{- end -}}
{{- $context = get $context.Subcharts "ingo-signing-proxy" -}}
{{- end -}}
{{- include "ingo-signing-proxy.private.refuse" $context -}}
{{- include (printf "ingo-signing-proxy.private.%s" $part) $context -}}
{{- end }}
