package summary

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
)

var csvHeader = []string{"cell", "set", "policy", "status", "level", "name", "metric", "statistic", "unit", "replicate", "value", "ci95_low", "ci95_high"}

// WriteCSV writes every figure as a row of its own ("long" format). Rows with
// a replicate (from 1) are single measurements, rows without one are means
// over the replicates with their interval. level is "all", "model" or
// "tenant" and name says which; those have means only. A text that a
// spreadsheet would take for a formula is preceded by an apostrophe.
func (s *Summary) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader); err != nil {
		return err
	}
	for i := range s.Cells {
		cell := &s.Cells[i]
		for j := range cell.Policies {
			p := &cell.Policies[j]
			row := rows{out: out, head: []string{Guard(cell.ID), Guard(settings(cell.Set)), Guard(p.Policy), p.Status}}
			if err := row.policy(p); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// Guard returns text for a CSV cell that people open in a spreadsheet:
// preceded by an apostrophe if it would be read as a formula.
func Guard(text string) string {
	if text != "" && strings.IndexByte("=+-@\t\r", text[0]) >= 0 {
		return "'" + text
	}
	return text
}

func settings(set map[string]string) string {
	var b strings.Builder
	for i, k := range Names(set) {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(k + "=" + set[k])
	}
	return b.String()
}

type rows struct {
	out  *csv.Writer
	head []string
}

func (r rows) policy(p *Policy) error {
	if err := r.group("all", "", p.Metrics, true); err != nil {
		return err
	}
	for _, name := range Names(p.PerModel) {
		if err := r.group("model", name, p.PerModel[name], false); err != nil {
			return err
		}
	}
	for _, name := range Names(p.PerTenant) {
		if err := r.group("tenant", name, p.PerTenant[name], false); err != nil {
			return err
		}
	}
	return nil
}

func (r rows) group(level, name string, group map[string]Metric, replicates bool) error {
	for _, metric := range Ordered(group) {
		m := group[metric]
		for _, statistic := range statisticsOf(m.Kind) {
			unit := m.Unit
			if counts(statistic) {
				unit = "1"
			}
			head := append(r.head[:len(r.head):len(r.head)], level, Guard(name), metric, statistic, unit)
			s := m.Stats[statistic]
			low, high := "", ""
			if s.CI95 != nil {
				low, high = number(s.CI95[0]), number(s.CI95[1])
			}
			if err := r.out.Write(append(head, "", number(s.Value), low, high)); err != nil {
				return err
			}
			if !replicates {
				continue
			}
			for i, v := range m.PerReplicate[statistic] {
				if err := r.out.Write(append(head, strconv.Itoa(i+1), number(v), "", "")); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func number(n Number) string {
	if !n.Known() {
		return ""
	}
	return strconv.FormatFloat(float64(n), 'g', -1, 64)
}
