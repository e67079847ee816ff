package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/nvml/calibrate"
	"github.com/vramsim/vramsim/nvml/profile"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
	"github.com/vramsim/vramsim/workloads/importers"
)

// modelRow says which recorded load times are those of a model.
type modelRow struct {
	name     string
	memory   scheduler.Bytes // 0: unknown
	recorded int             // in the loads
}

// modelRows reads --models. Without it, models are called what they were in
// the records, or the file where those name none.
func (f *calibrateFlags) modelRows(loads []importers.Loads) ([]modelRow, error) {
	if f.models == "" {
		var rows []modelRow
		for i := range loads {
			rows = append(rows, modelRow{name: loads[i].Name, recorded: i})
		}
		return rows, nil
	}
	file, err := os.Open(f.models)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	m := modelTable{file: f.models, loads: loads, in: csv.NewReader(file)}
	return m.rows()
}

// modelTable is the CSV that --models names: a column name, one recorded for
// the name in the records, where that is another, and one for the memory.
type modelTable struct {
	file                   string
	loads                  []importers.Loads
	in                     *csv.Reader
	name, recorded, memory int // columns, -1: none
}

const maxModelRows = 1 << 20

func (m *modelTable) rows() ([]modelRow, error) {
	head, err := m.in.Read()
	if err == io.EOF {
		return nil, &workloads.TraceError{File: m.file, What: "the file is empty; a column name is expected"}
	}
	if err != nil {
		return nil, m.syntax(err)
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	m.name, m.recorded, m.memory = slices.Index(head, "name"), slices.Index(head, "recorded"), slices.Index(head, "memory")
	if m.name < 0 {
		return nil, &workloads.TraceError{File: m.file, Line: 1, Column: 1, What: "there is no column name; found " + strings.Join(head, ", ")}
	}
	var rows []modelRow
	lines := map[string]int{}
	for {
		cells, err := m.in.Read()
		switch {
		case err == io.EOF && len(rows) == 0:
			return nil, &workloads.TraceError{File: m.file, What: "there are no models"}
		case err == io.EOF:
			return rows, nil
		case err != nil:
			return nil, m.syntax(err)
		case len(rows) == maxModelRows:
			return nil, m.errorf(m.name, "there are more than %d models", maxModelRows)
		}
		row, err := m.row(cells)
		if err != nil {
			return nil, err
		}
		if first, twice := lines[row.name]; twice {
			return nil, m.errorf(m.name, "model %q stands twice; the first is at line %d", row.name, first)
		}
		lines[row.name], _ = m.in.FieldPos(m.name)
		rows = append(rows, row)
	}
}

func (m *modelTable) errorf(column int, format string, args ...any) error {
	line, col := m.in.FieldPos(column)
	return &workloads.TraceError{File: m.file, Line: line, Column: col, What: fmt.Sprintf(format, args...)}
}

func (m *modelTable) syntax(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return &workloads.TraceError{File: m.file, Line: p.Line, Column: p.Column, What: p.Err.Error()}
	}
	return fmt.Errorf("%s: %w", m.file, err)
}

func (m *modelTable) row(cells []string) (row modelRow, err error) {
	row.name = cells[m.name]
	if strings.TrimSpace(row.name) == "" {
		return row, m.errorf(m.name, "the name is empty")
	}
	if m.memory >= 0 && cells[m.memory] != "" {
		if row.memory, err = scheduler.ParseBytes(strings.TrimSpace(cells[m.memory])); err != nil {
			return row, m.errorf(m.memory, "%v", err)
		}
	}
	column, recorded := m.name, row.name
	if m.recorded >= 0 && cells[m.recorded] != "" {
		column, recorded = m.recorded, cells[m.recorded]
	}
	row.recorded = slices.IndexFunc(m.loads, func(l importers.Loads) bool { return l.Name == recorded })
	if row.recorded < 0 && column == m.name && len(m.loads) == 1 && !m.loads[0].Named {
		row.recorded = 0 // the records name no models: they are of all
	}
	if row.recorded < 0 {
		var names []string
		for i := range m.loads {
			names = append(names, fmt.Sprintf("%q", m.loads[i].Name))
		}
		const most = 8
		if len(names) > most {
			names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
		}
		return row, m.errorf(column, "there are no recorded loads of %q; there are those of %s", recorded, strings.Join(names, ", "))
	}
	return row, nil
}

// fitRows fits each recorded series once and gives it to its models.
func (a *app) fitRows(p *profile.Profile, rows []modelRow, loads []importers.Loads, want calibrate.Family) error {
	fitted := make([]*profile.Model, len(loads))
	var sized []calibrate.Observations
	for _, row := range rows {
		l := &loads[row.recorded]
		if fitted[row.recorded] == nil {
			o := calibrate.Observations{Name: l.Name, Load: [scheduler.Tiers][]scheduler.Time{scheduler.TierDisk: l.Times}}
			m, all, err := o.Model(want)
			if err != nil {
				return err
			}
			a.fits(all)
			fitted[row.recorded] = &m
		}
		m := *fitted[row.recorded]
		m.Name, m.Memory.Declared = row.name, row.memory
		p.Models = append(p.Models, m)
		if l.Named && row.memory > 0 {
			sized = append(sized, calibrate.Observations{Name: row.name, Bytes: row.memory, Load: [scheduler.Tiers][]scheduler.Time{scheduler.TierDisk: l.Times}})
		}
	}
	for i, m := range fitted {
		if m == nil {
			a.warnf("the recorded loads of %q are of no model of --models and left out", loads[i].Name)
		}
	}
	p.Tiers = calibrate.Tiers(sized, "pagecache")
	return nil
}
