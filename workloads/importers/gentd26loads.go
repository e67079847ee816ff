package importers

import (
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/workloads"
)

// quantity is what the values of a GenTD26 time series are.
type quantity struct {
	what  string
	scale uint64 // ns of a ms, bytes, or billionths of a count
	load  bool   // the series may be one of load times
}

// quantityOf tells the series of GenTD26 apart: only their names do. A file of
// another name is taken for what its reader takes it for, load times.
func quantityOf(member string) quantity {
	base := path.Base(strings.ReplaceAll(member, "\\", "/"))
	for _, known := range []struct {
		part string
		quantity
	}{
		{"gpu_memory", quantity{"memory of containers in bytes", 1, false}},
		{"queue_size", quantity{"lengths of a queue", 1e9, false}},
		{"queue_rt", quantity{"times in a queue", 1e6, false}},
		{"model_predict", quantity{"times of predictions", 1e6, false}},
	} {
		if strings.Contains(base, known.part) {
			return known.quantity
		}
	}
	return quantity{"load times", 1e6, true}
}

// readGenTD26Loads reads the load times of base models or LoRAs of Alibaba's
// GenTD26. A row is the mean of a container's loads in 57 s, so that the spread
// of single loads is understated; no row names a model.
func readGenTD26Loads(r *recording) error {
	return r.each(func(member string, in io.Reader) error {
		file := r.shown(member)
		if q := quantityOf(member); !q.load {
			return &workloads.TraceError{File: file, What: fmt.Sprintf("these are %s, not load times; those are in basemodel_update_latency and lora_update_latency", q.what)}
		}
		name := strings.TrimSuffix(path.Base(member), path.Ext(member))
		return genTD26Series(r, file, in, 1e6, func(v int64) error { return r.loaded(name, false, scheduler.Time(v)) })
	})
}

// genTD26Series reads one time series; take gets each value times scale.
// Columns may come in any order. A value that is empty or NULL is missing.
func genTD26Series(r *recording, file string, in io.Reader, scale uint64, take func(int64) error) error {
	t, err := newTable(file, in, ',')
	if err != nil {
		return err
	}
	r.place, t.rounded = t.row, r.round
	var columns [3]int
	for i, name := range []string{"timestamp_anon", "value", "container_ip"} {
		if columns[i], err = t.column(name); err != nil {
			return err
		}
	}
	for {
		switch err := t.next(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		r.read()
		if _, err := t.time(columns[0], 1e9); err != nil {
			return err
		}
		if v := t.fields[columns[1]]; v == "" || v == "NULL" {
			r.drop("missing")
			continue
		}
		v, err := t.number(columns[1], scale)
		if err != nil {
			return err
		}
		if err := take(v); err != nil {
			return err
		}
	}
}
