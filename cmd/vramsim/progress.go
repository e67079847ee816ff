package main

import (
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress shows how many of the simulations are done: a bar on a terminal,
// nothing elsewhere.
type progress struct {
	pool *mpb.Progress
	bar  *mpb.Bar
}

func (a *app) newProgress(total int, what string) *progress {
	if a.quiet || !a.terminal() || total < 2 {
		return &progress{}
	}
	pool := mpb.New(mpb.WithOutput(a.stderr), mpb.WithWidth(40))
	bar := pool.AddBar(int64(total), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersNoUnit("%d/%d ")),
		mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.AverageETA(decor.ET_STYLE_GO)))
	return &progress{pool: pool, bar: bar}
}

func (p *progress) done() {
	if p.bar != nil {
		p.bar.Increment()
	}
}

// close takes the bar away, also when it is not full.
func (p *progress) close() {
	if p.bar != nil {
		p.bar.Abort(true)
		p.pool.Wait()
	}
}
