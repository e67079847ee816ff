package main

import (
	"fmt"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/results/telemetry"
	"github.com/vramsim/vramsim/scheduler"
)

// observe writes down what is seen beside the facts.
func (p *measured) observe(o nvml.Observation) {
	for _, r := range p.records(&o) {
		if err := p.side.Append(r); err != nil && p.sideFailed == nil {
			p.sideFailed = err
		}
	}
}

// records are an observation as the side stream has it.
func (p *measured) records(o *nvml.Observation) []telemetry.Record {
	r := telemetry.Record{At: o.At, Seq: telemetry.NoSeq, Device: o.Device}
	switch {
	case o.Ended != nil:
		return p.endedRecords(r, o.Ended)
	case o.Late != nil:
		r.Body = &telemetry.Late{Due: o.Late.Due, Late: max(0, o.Late.Fact.At-o.Late.Due), What: o.Late.Fact.Kind.String()}
	case o.Energy != nil:
		r.Body = &telemetry.Energy{MJ: o.Energy.Millijoules}
	case o.Mark != nil:
		r.Body = &telemetry.Mark{Code: o.Mark.Code, Text: o.Mark.Text}
	case o.Sample != nil:
		r.Body = sampleRecord(o.Sample)
	}
	return []telemetry.Record{r}
}

func (p *measured) endedRecords(r telemetry.Record, e *nvml.Ended) []telemetry.Record {
	r.Seq = int64(e.Command.Seq)
	model, op := p.models[e.Command.Model], e.Command.Op.String()
	var all []telemetry.Record
	for _, phase := range e.Outcome.Phases {
		r.Body = &telemetry.Phase{Model: model, Op: op, Name: phase.Name, Took: phase.Took}
		all = append(all, r)
	}
	if t := e.Outcome.DeviceTime; t > 0 {
		r.Body = &telemetry.Phase{Model: model, Op: op, Name: "device", Took: t, Bytes: e.Outcome.Bytes}
		all = append(all, r)
	}
	if m := e.Outcome.Memory; m != (scheduler.DeviceMemory{}) {
		r.Body = &telemetry.VRAM{Model: model, Op: op, N: len(e.Command.Items), Free: m.Free, Total: m.Total, Allocated: m.Allocated,
			Reserved: m.Reserved, PeakAllocated: m.PeakAllocated, PeakReserved: m.PeakReserved}
		all = append(all, r)
	}
	if f := e.Outcome.Failure; f != nil {
		r.Body = &telemetry.Mark{Code: "failed", Text: fmt.Sprintf("%s of %s: %s", op, model, f.Error())}
		all = append(all, r)
	}
	return all
}

func sampleRecord(s *nvml.DeviceSample) *telemetry.Sample {
	t := telemetry.NewSample()
	t.PowerMW, t.InstantMW = told(s.PowerMilliwatts), told(s.InstantMilliwatts)
	t.SMMHz, t.MemMHz, t.TempC = told(int64(s.SMClockMHz)), told(int64(s.MemoryClockMHz)), telemetry.Reading(s.TemperatureC)
	t.Reasons = uint64(s.Reasons)
	t.UsedBytes, t.FreeBytes, t.ForeignBytes = told(int64(s.Memory.Used)), told(int64(s.Memory.Free)), told(int64(s.Foreign))
	if s.Link.Generation > 0 {
		t.LinkGen, t.LinkWidth = told(int64(s.Link.Generation)), told(int64(s.Link.Width))
	}
	return t
}

// told is what a driver tells; less than nothing is no reading.
func told(v int64) telemetry.Reading {
	if v < 0 {
		return telemetry.Unknown
	}
	return telemetry.Reading(v)
}
