// The version of Kueue that dev/engines/build builds. Another one: go mod edit -require MODULE@VERSION, go mod download MODULE.
module kueue

go 1.26.0

require sigs.k8s.io/kueue v0.19.2
