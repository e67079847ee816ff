package workloads

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// span is a range of items first..last that forward dependencies bridge. A
// cycle leads down by forward dependencies only, so that it lies within one
// span; only dependencies inside spans need be looked at.
type span struct{ first, last int64 }

// spans unites the ranges of the edges, which are sorted by item.
func spans(edges []forward) []span {
	var out []span
	for _, e := range edges {
		if n := len(out); n > 0 && e.item <= out[n-1].last {
			out[n-1].last = max(out[n-1].last, e.to)
		} else {
			out = append(out, span{e.item, e.to})
		}
	}
	return out
}

// graph holds the dependencies within the spans. Nodes are the items of all
// spans, numbered through.
type graph struct {
	spans  []span
	bases  []int64 // node of each span's first item
	from   []int32 // dependencies: node from waits for node to
	to     []int32
	starts []int32 // of each node's dependants in order
	order  []int32 // dependencies sorted by to
}

func (g *graph) node(item int64) (int32, int) {
	i, _ := slices.BinarySearchFunc(g.spans, item, func(s span, item int64) int { return int(s.last - item) })
	if i == len(g.spans) || item < g.spans[i].first {
		return -1, -1
	}
	return int32(g.bases[i] + item - g.spans[i].first), i
}

func (g *graph) item(node int32) int64 {
	i, exact := slices.BinarySearch(g.bases, int64(node))
	if !exact {
		i--
	}
	return g.spans[i].first + int64(node) - g.bases[i]
}

// checkCycles reads the trace again for the dependencies within spans and
// removes, layer by layer, the items that wait for nothing.
func (t *Trace) checkCycles(edges []forward) error {
	g := &graph{spans: spans(edges)}
	nodes := int64(0)
	for _, s := range g.spans {
		g.bases = append(g.bases, nodes)
		nodes += s.last - s.first + 1
	}
	if err := t.collect(g); err != nil {
		return err
	}
	left := g.peel(int(nodes))
	if left == nil {
		return nil
	}
	return t.cycleError(g.cycle(left))
}

func (t *Trace) collect(g *graph) error {
	rows, err := t.rows()
	if err != nil {
		return err
	}
	defer rows.Close()
	for item := int64(0); ; item++ {
		switch err := rows.next(); {
		case err == io.EOF && item == t.items:
			return nil
		case err == io.EOF:
			return t.changed()
		case err != nil:
			return err
		}
		if len(rows.row.after) == 0 {
			continue
		}
		from, span := g.node(item)
		if from < 0 {
			continue
		}
		for _, name := range rows.row.after {
			on, known := t.ids.find(digestOf(name))
			if !known {
				return t.changed()
			}
			if to, other := g.node(on); to >= 0 && other == span {
				g.from, g.to = append(g.from, from), append(g.to, to)
			}
		}
	}
}

// peel returns how many dependencies each node still has after everything that
// can run has run, nil if that is none at all.
func (g *graph) peel(nodes int) []int32 {
	waiting := make([]int32, nodes)
	g.starts = make([]int32, nodes+1)
	for i := range g.from {
		waiting[g.from[i]]++
		g.starts[g.to[i]+1]++
	}
	for i := range nodes {
		g.starts[i+1] += g.starts[i]
	}
	g.order = make([]int32, len(g.from))
	fill := slices.Clone(g.starts)
	for i, to := range g.to {
		g.order[fill[to]] = int32(i)
		fill[to]++
	}
	var free []int32
	for n, w := range waiting {
		if w == 0 {
			free = append(free, int32(n))
		}
	}
	done := 0
	for ; done < len(free); done++ {
		n := free[done]
		for _, e := range g.order[g.starts[n]:g.starts[n+1]] {
			if waiting[g.from[e]]--; waiting[g.from[e]] == 0 {
				free = append(free, g.from[e])
			}
		}
	}
	if done == nodes {
		return nil
	}
	return waiting
}

// cycle returns the items of one cycle among the nodes that still wait, each
// waiting for the next, starting with the first in the trace.
func (g *graph) cycle(waiting []int32) []int64 {
	next := make(map[int32]int32) // what each such node waits for first
	for i := range g.from {
		if _, has := next[g.from[i]]; !has && waiting[g.from[i]] > 0 && waiting[g.to[i]] > 0 {
			next[g.from[i]] = g.to[i]
		}
	}
	at := int32(slices.IndexFunc(waiting, func(w int32) bool { return w > 0 }))
	seen := map[int32]int{}
	var path []int64
	for {
		if from, again := seen[at]; again {
			path = path[from:]
			least := slices.Index(path, slices.Min(path))
			return append(slices.Clone(path[least:]), path[:least]...)
		}
		seen[at] = len(path)
		path = append(path, g.item(at))
		at = next[at]
	}
}

// cycleError names the items of a cycle, at most a few.
func (t *Trace) cycleError(items []int64) error {
	const most = 8
	var b strings.Builder
	shown := append(slices.Clone(items[:min(len(items), most)]), items[0])
	for i, item := range shown {
		rows, err := t.rowsTo(item)
		if err != nil {
			return err
		}
		switch {
		case i == 0:
		case i == most && len(items) > most:
			fmt.Fprintf(&b, " after %d more", len(items)-most)
			fallthrough
		default:
			b.WriteString(" after ")
		}
		fmt.Fprintf(&b, "%q (line %d)", rows.row.id, t.lineOf(item))
		rows.Close()
	}
	return &TraceError{File: t.name, Line: t.lineOf(items[0]), What: "items wait for each other: " + b.String()}
}
