package summary

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// WriteBench writes the run in Go's benchmark format, one line for each
// replicate of a policy in a cell, so that benchstat compares policies
// (benchstat -col /policy bench.txt) or runs (benchstat old.txt new.txt).
// Units are the names of the metrics, with the statistic after a dot, and say
// themselves in which direction they improve.
func (s *Summary) WriteBench(w io.Writer) error {
	b := bufio.NewWriter(w)
	// Nothing here may differ between runs of one experiment: benchstat only
	// compares what has the same configuration.
	fmt.Fprintf(b, "experiment: %s\n", flat(s.Name))
	s.benchUnits(b)
	for i := range s.Cells {
		cell := &s.Cells[i]
		fmt.Fprintf(b, "set: %s\n", flat(settings(cell.Set)))
		for j := range cell.Policies {
			p := &cell.Policies[j]
			fmt.Fprintf(b, "policy-status: %s\n", p.Status)
			benchLines(b, fmt.Sprintf("BenchmarkRun/policy=%s/cell=%s", word(p.Policy), word(cell.ID)), p)
		}
	}
	return b.Flush()
}

// benchUnits declares each unit's direction once.
func (s *Summary) benchUnits(b *bufio.Writer) {
	all := map[string]Metric{}
	for _, cell := range s.Cells {
		for _, p := range cell.Policies {
			for name, m := range p.Metrics {
				all[name] = m
			}
		}
	}
	for _, name := range Ordered(all) {
		if Direction(name) == 0 {
			continue
		}
		for _, statistic := range statisticsOf(all[name].Kind) {
			if direction := map[int]string{-1: "lower", +1: "higher"}[Direction(name)]; !counts(statistic) {
				fmt.Fprintf(b, "Unit %s better=%s\n", benchUnit(name, statistic), direction)
			}
		}
	}
}

func benchUnit(metric, statistic string) string {
	if statistic == "value" {
		return word(metric)
	}
	return word(metric) + "." + statistic
}

func benchLines(b *bufio.Writer, name string, p *Policy) {
	replicates := 0
	for _, m := range p.Metrics {
		for _, values := range m.PerReplicate {
			replicates = max(replicates, len(values))
		}
	}
	for r := range replicates {
		var line strings.Builder
		for _, metric := range Ordered(p.Metrics) {
			m := p.Metrics[metric]
			for _, statistic := range statisticsOf(m.Kind) {
				v := m.PerReplicate[statistic]
				if statistic == "censored" && r < len(v) && v[r] == 0 {
					continue // almost always
				}
				if r < len(v) && v[r].Known() {
					fmt.Fprintf(&line, "\t%s %s", number(v[r]), benchUnit(metric, statistic))
				}
			}
		}
		if line.Len() > 0 {
			fmt.Fprintf(b, "%s 1%s\n", name, line.String())
		}
	}
}

// word makes text one word that may stand in a benchmark name.
func word(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || unicode.IsSpace(r) || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, text)
}

// flat makes text one line.
func flat(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
}
