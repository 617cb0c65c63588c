{{- /*
The labels of every object but the CRDs, as YAML. Takes a list: the root context, and the component of the object: cluster
(once in a cluster), operator, gateway, monitoring. The labels here take precedence over commonLabels.
*/}}
{{- define "labels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/version" ($root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-")
  "app.kubernetes.io/managed-by" $root.Release.Service
  "app.kubernetes.io/component" (index . 1)
-}}
{{- merge $labels (fromYaml (include "selector" .)) $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- /*
The labels for selectors. A Deployment's selector is immutable, so they contain no version. Takes a list: the root context, and
the component.
*/}}
{{- define "selector" -}}
app.kubernetes.io/name: {{ eq (index . 1) "gateway" | ternary "ai-api-gateway" "ai-api-operator" }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- end -}}

{{- define "image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
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
{{- $ofGateway := eq $component "gateway" }}
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
{{- $_ := set . "name" ($ofGateway | ternary .name (include "serviceAccount" $root)) }}
{{- $_ := set . "namespace" $root.Release.Namespace }}
{{- end }}
{{- if eq $object.kind "Role" }}
{{- range $object.rules }}
{{- if has "ai-api-meta" .resourceNames }}
{{- $_ := set . "resourceNames" (list $root.Values.metaConfigMap) }}
{{- end }}
{{- end }}
{{- else if and (eq $object.kind "ServiceAccount") (not $ofGateway) }}
{{- $_ := set $meta "name" (include "serviceAccount" $root) }}
{{- with $root.Values.serviceAccount.annotations }}
{{- $_ := set $meta "annotations" . }}
{{- end }}
{{- else if eq $object.kind "NetworkPolicy" }}
{{- $_ := set $object.spec.podSelector "matchLabels" (fromYaml (include "selector" (list $root $component))) }}
{{- else if has $object.kind (list "PodDisruptionBudget" "ServiceMonitor") }}
{{- $_ := set $object.spec.selector "matchLabels" (fromYaml (include "selector" (list $root $component))) }}
{{- else if eq $object.kind "Service" }}
{{- $_ := set $object.spec "selector" (fromYaml (include "selector" (list $root $component))) }}
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
{{- if and $ofGateway (eq $object.kind "Deployment") }}
{{- include "gateway" (list $root $object) }}
{{- end }}
{{- if and (not $skipped) (or $ofGateway (ne $object.kind "ServiceAccount") $root.Values.serviceAccount.create) }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end -}}

{{- /*
Changes the Deployment of the gateway to what the values say. Takes a list: the root context, and the Deployment. What is not set
stays as in deploy/gateway/gateway.yaml.
*/}}
{{- define "gateway" -}}
{{- $values := (index . 0).Values }}
{{- $spec := (index . 1).spec }}
{{- $selector := fromYaml (include "selector" (list (index . 0) "gateway")) }}
{{- $_ := set $spec "replicas" $values.gateway.replicas }}
{{- $_ := set $spec "selector" (dict "matchLabels" $selector) }}
{{- $labels := merge (fromYaml (include "labels" (list (index . 0) "gateway"))) $values.podLabels }}
{{- $_ := set $spec.template "metadata" (dict "labels" $labels) }}
{{- with $values.podAnnotations }}
{{- $_ := set $spec.template.metadata "annotations" . }}
{{- end }}
{{- $pod := $spec.template.spec }}
{{- with $values.topologySpreadConstraints }}
{{- $_ := set $pod "topologySpreadConstraints" (deepCopy .) }}
{{- end }}
{{- range $pod.topologySpreadConstraints }}
{{- $_ := set . "labelSelector" (dict "matchLabels" $selector) }}
{{- end }}
{{- range $name := list "imagePullSecrets" "priorityClassName" "nodeSelector" "tolerations" "affinity" }}
{{- with index $values $name }}
{{- $_ := set $pod $name . }}
{{- end }}
{{- end }}
{{- $_ := set $pod "securityContext" $values.podSecurityContext }}
{{- $container := index $pod.containers 0 }}
{{- $_ := set $container "image" (include "image" (index . 0)) }}
{{- with $values.image.pullPolicy }}
{{- $_ := set $container "imagePullPolicy" . }}
{{- end }}
{{- $_ := set $container "securityContext" $values.securityContext }}
{{- $_ := set $container "resources" $values.gateway.resources }}
{{- with $values.gateway.env }}
{{- $_ := set $container "env" . }}
{{- end }}
{{- if ne $values.metaConfigMap "ai-api-meta" }}
{{- $_ := set $container "args" (append $container.args (printf "--meta-configmap=%s" $values.metaConfigMap)) }}
{{- end }}
{{- if ne $values.logFormat "text" }}
{{- $_ := set $container "args" (append $container.args (printf "--log-format=%s" $values.logFormat)) }}
{{- end }}
{{- $_ := set (index $pod.volumes 0).secret "secretName" $values.gateway.tlsSecret }}
{{- end -}}
