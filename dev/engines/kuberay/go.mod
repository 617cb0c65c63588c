// The version of KubeRay that dev/engines/build builds. Another one: go mod edit -require MODULE@VERSION, go mod download MODULE.
module kuberay

go 1.26.0

require github.com/ray-project/kuberay/ray-operator v1.6.0
