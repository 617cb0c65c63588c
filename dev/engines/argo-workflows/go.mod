// The version of Argo Workflows that dev/engines/build builds. Another one: go mod edit -require MODULE@VERSION, go mod download MODULE.
module argo-workflows

go 1.26.0

require github.com/argoproj/argo-workflows/v4 v4.0.5
