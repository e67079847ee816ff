package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// queueFamily turns a case of the reference into experiments.
type queueFamily struct {
	id     string
	trials func(c *queueCase) []trial
	unread map[string]string // values that no run shows, or groups of them, and why
}

// inexpressible lists the cases that no experiment can state, and why.
func inexpressible() map[string]string {
	return map[string]string{
		"mg1ps":   "a device runs whole batches; nothing shares it by time slices",
		"npolicy": "no batcher or visit starts a load at a count and then serves until the queue is empty",
	}
}

func queueFamilies() []queueFamily {
	return slices.Concat(singleQueues(), loadingQueues(), batchQueues(), pollingQueues(), networks(), residencies(), twoModels(), anomalies())
}

const (
	medianAtJump = "the wait is 0 with a probability of exactly a half: the median of a sample lies on either side of the jump"
	planned      = "  - {use: fifo, params: {fill: false}, place: {planned: {map: {%s}}}}\n"
)

func seconds(v float64) string { return strconv.FormatFloat(v, 'g', 12, 64) + "s" }
func perSecond(v float64) string {
	return strconv.FormatFloat(v, 'g', 12, 64) + "/s"
}

func queueModel(name, memory, load, batch string) string {
	return fmt.Sprintf("  %s: {memory: %s, batch: {%s}, load: %s, unload: 0s}\n", name, memory, batch, load)
}

func gpu(name string, gigabytes float64, slots int) string {
	return fmt.Sprintf("{name: %s, memory: %gGB, safety: 1.0, slots: %d}", name, gigabytes, slots)
}

func exponential(mean float64) string { return "max: 1, time: {exp: {mean: " + seconds(mean) + "}}" }

// service is a batch of one with the moments of a case: constant or exponential.
func service(mean, second float64) string {
	switch {
	case math.Abs(second-mean*mean) < 1e-9*second:
		return "max: 1, time: " + seconds(mean)
	case math.Abs(second-2*mean*mean) < 1e-9*second:
		return exponential(mean)
	}
	panic(fmt.Sprintf("no distribution of mean %v and second moment %v", mean, second))
}

// streams are independent models with Poisson arrivals, by weight if several.
func streams(rate float64, models int, weights ...float64) string {
	var names, shares []string
	for i := range models {
		names = append(names, fmt.Sprintf("m%d", i))
	}
	for _, w := range weights {
		shares = append(shares, strconv.FormatFloat(w, 'g', 12, 64))
	}
	popularity := ""
	if len(weights) > 0 {
		popularity = ", popularity: {weights: [" + strings.Join(shares, ", ") + "]}"
	}
	return "arrivals: {poisson: {rate: " + perSecond(rate) + "}}, streams: {models: [" + strings.Join(names, ", ") + "]" + popularity + "}"
}

func sum(values []float64) float64 {
	s := 0.0
	for _, v := range values {
		s += v
	}
	return s
}

func each(key string, n int, read func(i int) reading) []figure {
	var list []figure
	for i := range n {
		list = append(list, figure{key: fmt.Sprintf("%s[%d]", key, i), read: read(i)})
	}
	return list
}

// queue is a trial of one model on the device of mm1.
func queue(name, model, workload string, replicates, items int, warmup float64, figures []figure) trial {
	return trial{name: name, limit: shortLimit, figures: figures,
		queueFile: queueFile{models: []string{model}, workload: workload, replicates: replicates, items: items, warmup: warmup}}
}

func (tr trial) logged() trial {
	tr.log = true
	return tr
}

// onlyLong keeps a trial that is dear for what it shows out of the short
// version; the long one has it as it is.
func (tr trial) onlyLong() trial {
	tr.long = true
	return tr
}

func (tr trial) under(policy string) trial {
	tr.policies = "  - " + policy + "\n"
	return tr
}
