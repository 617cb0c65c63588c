// schemas FOLDER DOCUMENT...: writes the JSON schema of every kind in OpenAPI documents of a Kubernetes API server, as
// GROUP_VERSION_KIND.json in lower case; the core group goes by its version, as kubeconform says it.
//
// A field that a schema does not name is an error, as it is for the API server with strict validation.
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"
	"strings"
)

const refPrefix = "#/components/schemas/"

type object = map[string]any

type document struct {
	Components struct {
		Schemas map[string]object `json:"schemas"`
	} `json:"components"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("schemas: ")
	folder := os.Args[1]
	for _, path := range os.Args[2:] {
		text, err := os.ReadFile(path)
		check(err)
		var read document
		check(json.Unmarshal(text, &read))
		for name, schema := range read.Components.Schemas {
			forbidOthers(schema)
			// What has several kinds, such as DeleteOptions, is in no manifest.
			kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
			if len(kinds) == 1 {
				write(folder, kinds[0].(object), name, read.Components.Schemas)
			}
		}
	}
}

func write(folder string, kind object, name string, all map[string]object) {
	used := map[string]object{}
	collect(object{"$ref": refPrefix + name}, all, used)
	schema, err := json.Marshal(object{"$ref": refPrefix + name, "components": object{"schemas": used}})
	check(err)
	version := kind["version"].(string)
	group := kind["group"].(string)
	if group == "" {
		group = version
	}
	file := strings.ToLower(group + "_" + version + "_" + kind["kind"].(string) + ".json")
	check(os.WriteFile(filepath.Join(folder, file), schema, 0o600))
}

// forbidOthers allows no other fields than those that are named.
func forbidOthers(node any) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			forbidOthers(child)
		}
	case object:
		for _, child := range node {
			forbidOthers(child)
		}
		_, named := node["properties"].(object)
		_, others := node["additionalProperties"]
		_, free := node["x-kubernetes-preserve-unknown-fields"]
		if named && !others && !free {
			node["additionalProperties"] = false
		}
	}
}

// collect finds the schemas that a node refers to, and those that they refer to.
func collect(node any, all, used map[string]object) {
	switch node := node.(type) {
	case []any:
		for _, child := range node {
			collect(child, all, used)
		}
	case object:
		for _, child := range node {
			collect(child, all, used)
		}
		ref, _ := node["$ref"].(string)
		name := strings.TrimPrefix(ref, refPrefix)
		if _, seen := used[name]; ref != "" && !seen {
			used[name] = all[name]
			collect(all[name], all, used)
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
