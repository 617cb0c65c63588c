{{/*
A manifest of the Kustomize installation as it stands there: dev/chart-files copies them into files/. Only the names that
may differ are replaced. Takes a list: the root context and the name of the file.
*/}}
{{- define "manifest" -}}
{{- $root := index . 0 -}}
---
{{ $root.Files.Get (printf "files/%s" (index . 1)) | replace "ai-api-system" $root.Release.Namespace | replace "ai-api-meta" $root.Values.metaConfigMap }}
{{- end -}}
