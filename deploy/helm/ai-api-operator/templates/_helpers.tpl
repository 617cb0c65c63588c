{{- /*
The labels of every object but the CRDs, as YAML. Takes a list: the root context, and the component of the object: cluster
(once in a cluster), operator, monitoring. The labels here take precedence over commonLabels.
*/}}
{{- define "labels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/component" (index . 1)
-}}
{{- merge $labels (fromYaml (include "selector" $root)) $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- /* The labels for selectors. A Deployment's selector is immutable, so they contain no version. */}}
{{- define "selector" -}}
app.kubernetes.io/name: ai-api-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "serviceAccount" -}}
{{- .Values.serviceAccount.name | default "ai-api-operator" -}}
{{- end -}}

{{- /*
The objects of a Kustomize manifest, which dev/chart-files copies into files/. They are changed as objects and not as text,
so values that look alike cannot be confused. Takes a list: the root context, the name of the file, the component (see
labels), and the watched namespace, if the objects are for one. Of an engine's file, the component cluster gets the ClusterRole
and the component operator its binding, which is a RoleBinding for a watched namespace.
*/}}
{{- define "manifest" -}}
{{- $root := index . 0 -}}
{{- $component := index . 2 -}}
{{- range $text := splitList "\n---\n" ($root.Files.Get (printf "files/%s" (index . 1))) }}
{{- $object := fromYaml $text }}
{{- $meta := $object.metadata }}
{{- $ofEngine := hasPrefix "engines/" (index $ 1) }}
{{- $skipped := and $ofEngine (eq (eq $component "cluster") (eq $object.kind "ClusterRoleBinding")) }}
{{- if and $ofEngine (eq (len $) 4) }}
{{- $_ := set $object "kind" "RoleBinding" }}
{{- $_ := set $meta "namespace" "watched" }}
{{- end }}
{{- $_ := set $meta "labels" (merge (fromYaml (include "labels" (list $root $component))) $meta.labels) }}
{{- if eq $component "cluster" }}
{{- /* Other operators of this cluster need it, and the CRDs, which stay, need the admission policy. */}}
{{- $_ := set $meta "annotations" (dict "helm.sh/resource-policy" "keep") }}
{{- end }}
{{- if eq ($meta.namespace | default "") "ai-api-system" }}
{{- $_ := set $meta "namespace" $root.Release.Namespace }}
{{- else if $meta.namespace }}
{{- $_ := set $meta "namespace" (index $ 3) }}
{{- end }}
{{- if hasSuffix ":ai-api-system" $meta.name }}
{{- $_ := set $meta "name" (printf "%s:%s" (trimSuffix ":ai-api-system" $meta.name) $root.Release.Namespace) }}
{{- end }}
{{- range $object.subjects }}
{{- $_ := set . "name" (include "serviceAccount" $root) }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- if eq $object.kind "Role" }}
{{- range $object.rules }}
{{- if has "ai-api-meta" .resourceNames }}
{{- $_ := set . "resourceNames" (list $root.Values.metaConfigMap) }}
{{- end }}
{{- end }}
{{- else if eq $object.kind "ServiceAccount" }}
{{- $_ := set $meta "name" (include "serviceAccount" $root) }}
{{- with $root.Values.serviceAccount.annotations }}
{{- $_ := set $meta "annotations" . }}
{{- end }}
{{- else if eq $object.kind "NetworkPolicy" }}
{{- $_ := set $object.spec.podSelector "matchLabels" (fromYaml (include "selector" $root)) }}
{{- else if has $object.kind (list "PodDisruptionBudget" "ServiceMonitor") }}
{{- $_ := set $object.spec.selector "matchLabels" (fromYaml (include "selector" $root)) }}
{{- else if eq $object.kind "Service" }}
{{- $_ := set $object.spec "selector" (fromYaml (include "selector" $root)) }}
{{- end }}
{{- if eq $object.kind "ServiceMonitor" }}
{{- $_ := set $meta "labels" (merge $meta.labels $root.Values.monitoring.serviceMonitor.labels) }}
{{- else if eq $object.kind "PrometheusRule" }}
{{- $_ := set $meta "labels" (merge $meta.labels $root.Values.monitoring.prometheusRule.labels) }}
{{- range $object.spec.groups }}
{{- range .rules }}
{{- $_ := set . "expr" (replace "namespace=\"ai-api-system\"" (printf "namespace=%q" $root.Release.Namespace) .expr) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not $skipped) (or (ne $object.kind "ServiceAccount") $root.Values.serviceAccount.create) }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end -}}
