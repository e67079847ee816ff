package importers

import (
	"io"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/scheduler"
)

// decodeGenTD26 reads the request trace of Alibaba's GenTD26. Times are in
// whole seconds, so that many rows share an instant; exec_time_seconds
// includes queueing and loading.
func decodeGenTD26(d *decoding) error {
	if !slices.Contains([]string{"", "base", "base+nlora"}, d.opt.ModelKey) {
		return &FormatError{"model-key must be base or base+nlora, not " + d.opt.ModelKey}
	}
	if s := d.opt.Service; s != (Service{}) && !s.Exec {
		return &FormatError{"gentd26 has no tokens; service may be exec"}
	}
	status := map[string]int64{}
	d.report.Extra["status"] = status
	g := gentd26{d: d, status: status}
	err := d.each(func(member string, r io.Reader) (err error) {
		if g.t, err = newTable(d.shown(member), r, ','); err != nil {
			return err
		}
		d.place, g.t.rounded = g.t.row, d.round
		return g.rows()
	})
	d.report.Extra["sum_exec_s"] = g.seconds.Seconds()
	return err
}

type gentd26 struct {
	t      *table
	d      *decoding
	status map[string]int64
	// seconds is the sum of the execution times of what is emitted.
	seconds scheduler.Time

	at, state, exec, group, model, loras int // columns
}

func (g *gentd26) rows() (err error) {
	for _, c := range []struct {
		to   *int
		name string
	}{{&g.at, "gmt_create"}, {&g.state, "predict_status"}, {&g.exec, "exec_time_seconds"}, {&g.group, "groupId"},
		{&g.model, "checkpoint_model_version_id"}, {&g.loras, "num_lora"}} {
		if *c.to, err = g.t.column(c.name); err != nil {
			return err
		}
	}
	for {
		switch err := g.t.next(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := g.row(); err != nil {
			return err
		}
	}
}

func (g *gentd26) row() error {
	f := g.t.fields
	g.d.read()
	g.status[f[g.state]]++
	out := newRow()
	var err error
	if out.At, err = g.t.date(g.at, "2006-01-02 15:04:05"); err != nil {
		return err
	}
	exec := scheduler.Time(-1)
	if f[g.exec] != "" {
		if exec, err = g.t.time(g.exec, 1e9); err != nil {
			return err
		}
	}
	switch {
	case f[g.model] == "":
		g.d.drop("no_model")
		return nil
	case g.d.opt.Status != "" && !strings.EqualFold(g.d.opt.Status, f[g.state]):
		g.d.drop("status")
		return nil
	}
	if exec > 0 {
		g.seconds, _ = scheduler.AddTime(g.seconds, exec)
	}
	out.Model, out.Tenant = f[g.model], f[g.group]
	if g.d.opt.ModelKey == "base+nlora" {
		out.Model += "+" + f[g.loras]
	}
	if g.d.opt.Service.Exec {
		out.Service = exec // -1 is none
	}
	return g.d.emit(&out)
}
