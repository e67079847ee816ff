package tracestats

import (
	"math"
	"slices"

	"github.com/vramsim/vramsim/scheduler"
)

func popularityFeatures(f *Features, models []int) {
	ranked := make([]float64, slices.Max(models)+1)
	for _, m := range models {
		ranked[m]++
	}
	slices.SortFunc(ranked, func(a, b float64) int { return int(b - a) })
	k, n := len(ranked), float64(len(models))
	f.add("K", float64(k))
	for _, top := range []int{1, 3, 10} {
		share := 0.0
		for _, c := range ranked[:min(top, k)] {
			share += c / n
		}
		f.addAt("top", top, share)
	}
	entropy, weighted := 0.0, 0.0
	for i, c := range ranked {
		entropy -= c / n * math.Log(c/n)
		weighted += c * float64(k-i) // rank from the smallest
	}
	f.add("Neff", math.Exp(entropy))
	f.add("Hnorm", entropy/math.Log(float64(k)))
	f.add("gini", 2*weighted/(float64(k)*n)-float64(k+1)/float64(k))
	s := zipfExponent(ranked)
	f.add("zipf_s", s)
	f.add("zipf_ks", zipfDistance(ranked, s))
}

// zipfExponent maximises the likelihood of the ranks over s in [0, 5]: the
// derivative E_s[ln rank] − mean ln rank falls with s.
func zipfExponent(ranked []float64) float64 {
	n, want := 0.0, 0.0
	for i, c := range ranked {
		n, want = n+c, want+c*math.Log(float64(i+1))
	}
	want /= n
	low, high := 0.0, 5.0
	for range 100 {
		s := (low + high) / 2
		total, logs := 0.0, 0.0
		for i := range ranked {
			w := math.Pow(float64(i+1), -s)
			total, logs = total+w, logs+w*math.Log(float64(i+1))
		}
		if logs/total > want {
			low = s
		} else {
			high = s
		}
	}
	return (low + high) / 2
}

func zipfDistance(ranked []float64, s float64) float64 {
	n, total := 0.0, 0.0
	for i, c := range ranked {
		n, total = n+c, total+math.Pow(float64(i+1), -s)
	}
	most, seen, meant := 0.0, 0.0, 0.0
	for i, c := range ranked {
		seen, meant = seen+c/n, meant+math.Pow(float64(i+1), -s)/total
		most = max(most, math.Abs(seen-meant))
	}
	return most
}

func localityFeatures(f *Features, models []int) {
	n := float64(len(models))
	switches := 0.0
	share := make([]float64, slices.Max(models)+1)
	for i, m := range models {
		share[m] += 1 / n
		if i > 0 && m != models[i-1] {
			switches++
		}
	}
	iid := 1.0
	for _, p := range share {
		iid -= p * p
	}
	f.add("switch", switches/(n-1))
	f.add("switch_iid", iid)
	f.add("locality", switches/(n-1)/iid)
	hits := lruHits(models, 10)
	for _, slots := range []int{1, 2, 3, 5, 10} {
		f.addAt("lru_miss", slots, 1-hits[slots]/n)
	}
	for _, slots := range []int{2, 3, 5} {
		f.addAt("min_miss", slots, MinMisses(models, slots)/n)
	}
}

// lruHits returns how many accesses hit with 0, 1, … most slots under LRU.
func lruHits(models []int, most int) []float64 {
	hits := make([]float64, most+1)
	var stack []int // most recent first, as deep as matters
	for _, m := range models {
		at := slices.Index(stack, m)
		if at < 0 {
			if len(stack) < most {
				stack = append(stack, 0)
			}
			at = len(stack) - 1
		} else {
			for slots := at + 1; slots <= most; slots++ {
				hits[slots]++
			}
		}
		copy(stack[1:at+1], stack[:at])
		stack[0] = m
	}
	return hits
}

// MinMisses returns the fewest misses of any rule that loads on demand into
// equal slots: Belady's, which evicts what is used next last.
func MinMisses(models []int, slots int) float64 {
	const never = math.MaxInt
	next := make([]int, len(models))
	seen := make([]int, slices.Max(models)+1)
	for m := range seen {
		seen[m] = never
	}
	for i := len(models) - 1; i >= 0; i-- {
		next[i] = seen[models[i]]
		seen[models[i]] = i
	}
	type slot struct{ model, next int }
	held := make([]slot, 0, slots)
	misses := 0.0
	for i, m := range models {
		at := slices.IndexFunc(held, func(s slot) bool { return s.model == m })
		switch {
		case at >= 0:
		case len(held) < slots:
			held, at = append(held, slot{}), len(held)
			misses++
		default:
			at = 0
			for j := range held {
				if held[j].next > held[at].next {
					at = j
				}
			}
			misses++
		}
		held[at] = slot{m, next[i]}
	}
	return misses
}

func modelTimeFeatures(f *Features, times []scheduler.Time, models []int) {
	for _, w := range []int{60, 600, 3600} {
		window := scheduler.Time(w) * scheduler.Second
		whole := int64((times[len(times)-1] - times[0]) / window)
		if whole < minWindows {
			continue
		}
		mean, busy := workingSet(times, models, window, whole)
		f.addAt("ws", w, mean)
		f.addAt("busywin", w, busy)
	}
	hours := (times[len(times)-1] - times[0]).Seconds() / 3600
	f.add("activ60_per_h", activations(times, models, 60*scheduler.Second)/hours)
	f.add("activ600_per_h", activations(times, models, 600*scheduler.Second)/hours)
	perModel(f, times, models)
}

// workingSet returns the mean number of models in windows with arrivals, the
// last too, and the share of the whole windows that have any.
func workingSet(times []scheduler.Time, models []int, window scheduler.Time, whole int64) (mean, busy float64) {
	last := make([]int64, slices.Max(models)+1) // window in which a model was seen last, from 1
	used, distinct, current := 0.0, 0.0, int64(0)
	for i, t := range times {
		w := int64((t-times[0])/window) + 1
		if w != current {
			current = w
			used++
			if w <= whole {
				busy++
			}
		}
		if last[models[i]] != w {
			last[models[i]] = w
			distinct++
		}
	}
	return distinct / used, busy / float64(whole)
}

func activations(times []scheduler.Time, models []int, idle scheduler.Time) float64 {
	last := make([]scheduler.Time, slices.Max(models)+1)
	for m := range last {
		last[m] = -1
	}
	n := 0.0
	for i, m := range models {
		t := times[i] - times[0]
		if last[m] < 0 || t-last[m] > idle {
			n++
		}
		last[m] = t
	}
	return n
}

func perModel(f *Features, times []scheduler.Time, models []int) {
	of := make([][]scheduler.Time, slices.Max(models)+1)
	for i, m := range models {
		of[m] = append(of[m], times[i])
	}
	var all []float64
	for _, t := range of {
		if len(t) >= 20 {
			if c := cv(gaps(t)); !math.IsNaN(c) {
				all = append(all, c)
			}
		}
	}
	if len(all) > 0 {
		f.add("permodel_cv_med", median(all))
		f.add("permodel_cv_max", slices.Max(all))
	}
	f.add("permodel_cv_n", float64(len(all)))
}
