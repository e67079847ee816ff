package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vramsim/vramsim/policies"
	"github.com/vramsim/vramsim/results/metrics"
	"github.com/vramsim/vramsim/sim/experiment"
)

// findBounds computes for each cell what no policy can beat, some cells at
// once. A cell without bounds has none in the summary.
func (r *runner) findBounds(ctx context.Context, jobs int) error {
	return errors.Join(r.eachCell(jobs, func(c int, cell *experiment.Cell) (err error) {
		r.bounds[c], err = boundsOf(ctx, cell)
		return err
	})...)
}

// eachCell does something with every cell, some at once, and returns what went
// wrong with each.
func (r *runner) eachCell(jobs int, do func(int, *experiment.Cell) error) []error {
	errs := make([]error, len(r.exp.Cells))
	queue := make(chan int)
	var workers sync.WaitGroup
	for range min(jobs, len(r.exp.Cells)) {
		workers.Go(func() {
			for c := range queue {
				errs[c] = do(c, r.exp.Cells[c])
			}
		})
	}
	for c := range r.exp.Cells {
		queue <- c
	}
	close(queue)
	workers.Wait()
	return errs
}

func boundsOf(ctx context.Context, cell *experiment.Cell) (map[string][]float64, error) {
	all := map[string][]float64{}
	for replicate := range cell.Replicates {
		if ctx.Err() != nil {
			return nil, nil // what was asked for is not finished anyway
		}
		b, err := cell.Bounds(replicate)
		if errors.Is(err, experiment.ErrNoBounds) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cell %s: bounds: %w", cell.ID, err)
		}
		for name, v := range boundValues(b) {
			all[name] = append(all[name], v)
		}
	}
	return all, nil
}

// boundValues names bounds as summary.json does.
func boundValues(b policies.Bounds) map[string]float64 {
	return map[string]float64{metrics.Makespan: b.Makespan.Seconds(), metrics.Loads: float64(b.Loads),
		metrics.Switches: float64(b.Switches), metrics.ItemLatency + ".mean": b.MeanLatency}
}
