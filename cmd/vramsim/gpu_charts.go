package main

import (
	"fmt"
	"slices"

	"github.com/vramsim/vramsim/results/charts"
	"github.com/vramsim/vramsim/results/fidelity"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/results/rundir"
	"github.com/vramsim/vramsim/results/summary"
	"github.com/vramsim/vramsim/results/table"
	"github.com/vramsim/vramsim/results/telemetry"
	"github.com/vramsim/vramsim/scheduler"
)

// namesOf lists charts by name.
func namesOf(infos []charts.Info) []string {
	names := make([]string, len(infos))
	for i := range infos {
		names[i] = infos[i].Name
	}
	return names
}

// hardwareChart draws what only a run on a card has; policy is whose run a
// timeline shows.
func hardwareChart(dir *rundir.Dir, s *summary.Summary, cell *summary.Cell, name, policy string) (*charts.Chart, error) {
	hw, err := openSide(dir.Path)
	if err != nil {
		return nil, err
	}
	if hw.manifest.Hardware == nil {
		return nil, withHint(usagef("the chart %s is of runs on a card, and %s is a simulation", name, dir.Path), "vramsim gpu run measures what it shows")
	}
	if slices.Contains(namesOf(charts.Compared()), name) {
		return comparedTwin(dir, cell, name)
	}
	side, err := sideStream(dir, cell.ID, policy)
	if err != nil {
		return nil, err
	}
	switch name {
	case "vram":
		at, err := hw.find(cell.ID, policy)
		if err != nil {
			return nil, err
		}
		return charts.Footprints(charts.HeadOf(name, s, cell, policy+", first replicate"), footprints(hw.exp.Cells[at.cell].Models, side)), nil
	case "power":
		r, err := firstResult(dir, cell.ID, policy)
		if err != nil {
			return nil, err
		}
		return powerChart(charts.HeadOf(name, s, cell, policy+", first replicate"), r, side), nil
	}
	loads, err := hw.loads(cell)
	if err != nil {
		return nil, err
	}
	generation, width := telemetry.FastestLink(side)
	return charts.LoadTimes(charts.HeadOf(name, s, cell, "first replicates of all policies"), loads, telemetry.LinkRate(generation, width),
		fmt.Sprintf("PCIe gen %d x%d", generation, width)), nil
}

// sideStream reads what the first replicate of a policy measured beside its log.
func sideStream(dir *rundir.Dir, cell, policy string) ([]telemetry.Record, error) {
	records, _, err := telemetry.Read(dir.Join(rundir.Replicate(cell, policy, 0), telemetry.FileName))
	return records, err
}

// find returns the first replicate of a policy in a cell.
func (s *side) find(cellID, policy string) (unit, error) {
	for c, cell := range s.exp.Cells {
		for p, row := range cell.Policies {
			if cell.ID == cellID && row.Name == policy {
				return unit{c, p, 0}, nil
			}
		}
	}
	return unit{}, fmt.Errorf("%s has no policy %q in a cell %q", s.dir.Path, policy, cellID)
}

// loads are those of the first replicates of all policies of a cell.
func (s *side) loads(cell *summary.Cell) (list []charts.Load, err error) {
	for i := range cell.Policies {
		at, err := s.find(cell.ID, cell.Policies[i].Policy)
		if err != nil {
			return nil, err
		}
		l, err := s.read(at)
		if err != nil {
			return nil, err
		}
		for _, d := range l.run.Durations {
			load := charts.Load{Bytes: float64(s.exp.Cells[at.cell].Models[d.Model].Bytes), Seconds: d.Took.Seconds()}
			switch d.Phase {
			case fidelity.PhaseLoadDisk:
				load.From = scheduler.TierDisk.String()
			case fidelity.PhaseLoadHost:
				load.From = scheduler.TierHost.String()
			default:
				continue
			}
			list = append(list, load)
		}
	}
	return list, nil
}

// footprints are what models declare and what the card said of them.
func footprints(models []scheduler.Model, side []telemetry.Record) (list []charts.Footprint) {
	measured := telemetry.Memories(side)
	for _, m := range models {
		f := charts.Footprint{Model: m.Name, Declared: float64(m.Bytes), DeclaredRun: float64(m.Bytes) + float64(m.Batch.Memory)*float64(m.Batch.Max)}
		if i := slices.IndexFunc(measured, func(o telemetry.ModelMemory) bool { return o.Model == m.Name }); i >= 0 {
			f.Weights, f.LoadPeak, f.RunMax = float64(measured[i].Weights), float64(measured[i].LoadPeak), float64(measured[i].RunPeak)
		}
		list = append(list, f)
	}
	return list
}

// powerChart is the residency chart with what the card drew and held.
func powerChart(head charts.Head, r *metrics.Result, side []telemetry.Record) *charts.Chart {
	devices, end := timelineDevices(r)
	for i := range devices {
		for _, rec := range side {
			s, ok := rec.Body.(*telemetry.Sample)
			if !ok || int(rec.Device) != i {
				continue
			}
			at := rec.At.Seconds()
			if s.InstantMW >= 0 {
				devices[i].Power = append(devices[i].Power, charts.Level{At: at, Watts: float64(s.InstantMW) / 1e3})
			} else if s.PowerMW >= 0 {
				devices[i].Power = append(devices[i].Power, charts.Level{At: at, Watts: float64(s.PowerMW) / 1e3})
			}
			if s.UsedBytes >= 0 {
				devices[i].Used = append(devices[i].Used, charts.Step{At: at, Bytes: float64(s.UsedBytes)})
			}
		}
	}
	if !slices.ContainsFunc(devices, func(d charts.Device) bool { return len(d.Power)+len(d.Used) > 0 }) {
		devices = nil // nothing was measured that the residency chart lacks
	}
	from, to := timelineWindow(devices, end)
	return charts.Residency(head, devices, from, to)
}

// comparedTwin draws a chart of a hardware run against its own simulation.
func comparedTwin(dir *rundir.Dir, cell *summary.Cell, name string) (*charts.Chart, error) {
	m, err := dir.Manifest()
	if err != nil {
		return nil, err
	}
	r, err := (&app{quiet: true}).besideSimulation(dir, m)
	if err != nil {
		return nil, err
	}
	for i := range r.Cells {
		if r.Cells[i].Measured == cell.ID {
			return comparedChart(r, &r.Cells[i], name), nil
		}
	}
	return nil, usagef("cell %s was not simulated", cell.ID)
}

// comparedChart draws one of charts.Compared. Latencies are those of the policy
// that the card found best.
func comparedChart(r *fidelity.Result, cell *fidelity.Cell, name string) *charts.Chart {
	head := charts.Head{Title: charts.TitleOf(name), Subtitle: r.Hardware.Name}
	parts := []string{table.Title(&summary.Cell{Set: cell.Set}), r.Hardware.Executor, r.Hardware.Label}
	best := cell.Best()
	if name == "predicted" && best != nil {
		parts = append(parts, best.Policy)
	}
	for _, part := range parts {
		if part != "" {
			head.Subtitle += " · " + part
		}
	}
	if name == "phase-errors" {
		var list []charts.PhaseError
		for _, e := range cell.Phases() {
			list = append(list, charts.PhaseError{Model: e.Model, Phase: string(e.Phase), Error: float64(e.Error), N: e.N})
		}
		return charts.PhaseErrors(head, list)
	}
	var items []charts.Latency
	if best != nil {
		for _, pair := range best.Items.Pairs {
			items = append(items, charts.Latency(pair))
		}
	}
	return charts.Predicted(head, items)
}
