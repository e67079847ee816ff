package experiment

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/policies/policytest"
	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// OfWorld writes a world that a policy was tested in as an experiment and the
// trace that it reads from the file of the given name: simulated, they make the
// same events. Policies of one name are told apart by a number.
func OfWorld(w *policytest.World, name, question, trace string, specs []policies.Spec) (experiment, items []byte, err error) {
	root := mapping(place{})
	put := func(key string, v *node) { root.add(key, place{}, v) }
	text := func(s string) *node { return &node{kind: scalarNode, text: s, quoted: true} }
	put("version", spell(place{}, Version))
	put("name", text(name))
	put("question", text(question))
	put("seed", spell(place{}, w.Seed))
	put("replicates", spell(place{}, 1))
	put("hardware", hardwareOf(w))
	models := mapping(place{})
	for i := range w.Models {
		models.add(w.Models[i].Name, place{}, modelOf(&w.Models[i]))
	}
	put("models", models)
	workload := map[string]any{"trace": trace}
	if w.Horizon > 0 {
		workload["horizon"] = w.Horizon
	}
	put("workload", spell(place{}, workload))
	if faults := faultsOf(w); len(faults.keys) > 0 {
		put("faults", faults)
	}
	d := &decoder{}
	rows := list(place{})
	for i := range specs {
		spec := specs[i]
		if spec.As = spec.Use; i > 0 {
			spec.As += "-" + strconv.Itoa(i+1)
		}
		row := mapping(place{})
		d.rewrite(row, &spec)
		rows.values = append(rows.values, row)
	}
	put("policies", rows)
	put("baseline", text(specs[0].Use))
	put("output", spell(place{}, map[string]any{"events": "log", "report": []any{}, "charts": []any{}}))
	items, err = traceOf(w)
	return render(root), items, err
}

func hardwareOf(w *policytest.World) *node {
	var gpus []any
	for _, d := range w.Devices {
		gpus = append(gpus, map[string]any{"name": d.Name, "memory": d.Budget, "safety": 1, "slots": d.Slots})
	}
	return spell(place{}, map[string]any{"gpus": gpus, "host_memory": w.HostMemory, "estimates": map[string]any{"use": "declared"}})
}

func modelOf(m *scheduler.Model) *node {
	batch := map[string]any{"max": m.Batch.Max, "memory": m.Batch.Memory, "base": m.Batch.Base, "per_item": m.Batch.PerItem}
	if len(m.Batch.Times) > 0 {
		times := map[string]any{}
		for i, t := range m.Batch.Times[:min(len(m.Batch.Times), m.Batch.Max)] {
			times[strconv.Itoa(i+1)] = t
		}
		delete(batch, "per_item")
		batch["times"] = times
	}
	all := map[string]any{"memory": m.Bytes, "batch": batch, "unload": m.Unload,
		"load": map[string]any{"disk": m.Load[scheduler.TierDisk], "host": m.Load[scheduler.TierHost]}}
	if m.Group != "" {
		all["group"] = m.Group
	}
	return spell(place{}, all)
}

// faultsOf has only the keys that say something.
func faultsOf(w *policytest.World) *node {
	faults := map[string]any{}
	share := func(key string, perMille int) {
		if perMille > 0 {
			faults[key] = float64(perMille) / 1000
		}
	}
	share("load_failure", w.LoadFailure)
	share("batch_failure", w.BatchFailure)
	var outages, foreign, cancelled []any
	for _, o := range w.Outages {
		outages = append(outages, map[string]any{"gpu": w.Devices[o.Device].Name, "from": o.From, "until": o.Until})
	}
	for _, f := range w.Foreign {
		foreign = append(foreign, map[string]any{"gpu": w.Devices[f.Device].Name, "at": f.At, "memory": f.Bytes})
	}
	for _, c := range w.Cancelled {
		cancelled = append(cancelled, map[string]any{"item": int64(c.Item), "at": c.At})
	}
	for key, values := range map[string][]any{"outages": outages, "foreign": foreign, "cancellations": cancelled} {
		if len(values) > 0 {
			faults[key] = values
		}
	}
	return spell(place{}, faults)
}

// traceOf names items by their numbers.
func traceOf(w *policytest.World) ([]byte, error) {
	var b bytes.Buffer
	out := workloads.NewWriter(&b)
	for i := range w.Items {
		it := &w.Items[i]
		item := workloads.Item{ID: strconv.Itoa(i), Model: w.Models[it.Model].Name, At: it.At, Priority: it.Priority,
			Deadline: scheduler.Never, Work: scheduler.WorkUnit, Service: workloads.NoService}
		if it.Job > 0 {
			item.Job = fmt.Sprint("j", it.Job)
		}
		if it.Tenant > 0 {
			item.Tenant = fmt.Sprint("t", it.Tenant)
		}
		if it.Deadline > 0 {
			item.Deadline = it.Deadline
		}
		if it.Work > 0 {
			item.Work = it.Work
		}
		for _, on := range it.After {
			item.After = append(item.After, strconv.Itoa(on))
		}
		if err := out.Write(&item); err != nil {
			return nil, err
		}
	}
	err := out.Close()
	return b.Bytes(), err
}
