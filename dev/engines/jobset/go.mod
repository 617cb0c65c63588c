// The version of JobSet that dev/engines/build builds. Another one: go mod edit -require MODULE@VERSION, go mod download MODULE.
module jobset

go 1.26.0

require sigs.k8s.io/jobset v0.12.0
