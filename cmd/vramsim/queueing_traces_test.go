package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// traceItem is a line of a native trace; times in nanoseconds.
type traceItem struct {
	ID       string   `json:"id"`
	Model    string   `json:"model"`
	At       int64    `json:"at_ns"`
	Priority int      `json:"priority,omitempty"`
	Work     float64  `json:"work,omitempty"`
	Service  int64    `json:"service_ns,omitempty"`
	After    []string `json:"after,omitempty"`
	Tenant   string   `json:"tenant,omitempty"`
}

const traceHeader = `{"vramsim":"trace","version":1}` + "\n"

func native(items []traceItem) []byte {
	b := bytes.NewBufferString(traceHeader)
	enc := json.NewEncoder(b)
	for i := range items {
		if err := enc.Encode(&items[i]); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// queueClass is a class of the priority case.
type queueClass struct{ Lam, ES, ES2 float64 }

// drawing is a trace being drawn.
type drawing struct {
	*rand.Rand
	items int
	at    float64 // seconds
	text  bytes.Buffer
}

// tracesOf returns a trace for each replicate, of streams fixed in advance.
func tracesOf(replicates int, fill func(*drawing)) []func(int) []byte {
	var list []func(int) []byte
	for i := range replicates {
		list = append(list, func(items int) []byte {
			d := &drawing{Rand: rand.New(rand.NewPCG(1, uint64(i))), items: items}
			d.text.WriteString(traceHeader)
			fill(d)
			return d.text.Bytes()
		})
	}
	return list
}

// arrive moves on to the next arrival of a Poisson process.
func (d *drawing) arrive(rate float64) (ns int64) {
	d.at += d.ExpFloat64() / rate
	return int64(d.at * 1e9)
}

// classes draws items of several classes, the first of the highest priority,
// with exponential service times.
func (d *drawing) classes(classes []queueClass) {
	total := 0.0
	for _, c := range classes {
		if c.ES2 != 2*c.ES*c.ES {
			panic("the service of a class is not exponential")
		}
		total += c.Lam
	}
	for i := range d.items {
		at, k := d.arrive(total), 0
		for u := d.Float64() * total; k < len(classes)-1 && u >= classes[k].Lam; k++ {
			u -= classes[k].Lam
		}
		fmt.Fprintf(&d.text, `{"id":"%d","model":"m0","at_ns":%d,"priority":%d,"service_ns":%d,"tenant":"class-%d"}`+"\n",
			i, at, len(classes)-k, int64(d.ExpFloat64()*classes[k].ES*1e9), k+1)
	}
}

// works draws items of exponential work.
func (d *drawing) works(rate float64) {
	for i := range d.items {
		fmt.Fprintf(&d.text, `{"id":"%d","model":"m0","at_ns":%d,"work":%.6f}`+"\n", i, d.arrive(rate), max(1e-6, d.ExpFloat64()))
	}
}
