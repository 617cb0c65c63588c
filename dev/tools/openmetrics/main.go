// openmetrics FILE: reads a scrape as Prometheus does, with its own parser of OpenMetrics, and fails if Prometheus would not
// take it, or if a metric lacks its type or its help. (promtool reads the older text format only.)
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("openmetrics: ")
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	parser := textparse.NewOpenMetricsParser(text, labels.NewSymbolTable())
	types, helps, series := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		switch entry {
		case textparse.EntryType:
			name, _ := parser.Type()
			types[string(name)] = true
		case textparse.EntryHelp:
			name, help := parser.Help()
			helps[string(name)] = len(help) > 0
		case textparse.EntrySeries:
			var of labels.Labels
			parser.Labels(&of)
			if series[of.String()] {
				log.Fatalf("%s is there twice", of)
			}
			series[of.String()] = true
		}
	}
	for name := range types {
		if !helps[name] {
			log.Fatalf("%s has no help", name)
		}
	}
	if len(types) == 0 || len(types) != len(helps) {
		log.Fatalf("%d types, %d helps", len(types), len(helps))
	}
	fmt.Printf("ok: %d metrics, %d series\n", len(types), len(series))
}
