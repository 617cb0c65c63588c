// The version of KServe that dev/engines/build builds. Another one: go mod edit -require MODULE@VERSION, go mod download MODULE.
module kserve

go 1.26.0

require github.com/kserve/kserve v0.20.0
