{{/*
A manifest of the Kustomize installation as it stands there: dev/chart-files copies them into files/. Only the names that
may differ are replaced. Takes a list: the root context, the name of the file, and the namespace that it is for, if it is for
one of those that are watched.

No value may be taken for a name that has yet to be replaced: so all names first become what no value can contain. And a name
such as no or 123 is a string only in quotes.
*/}}
{{- define "manifest" -}}
{{- $root := index . 0 -}}
{{- $text := $root.Files.Get (printf "files/%s" (index . 1)) | replace "ai-api-system" "<OWN>" | replace "ai-api-meta" "<META>" -}}
{{- if gt (len .) 2 -}}
{{- $text = $text | replace "team-a" "<WATCHED>" | replace "<WATCHED>" (quote (index . 2)) -}}
{{- end -}}
---
{{ $text | replace "<OWN>" (quote $root.Release.Namespace) | replace "<META>" (quote $root.Values.metaConfigMap) }}
{{- end -}}
