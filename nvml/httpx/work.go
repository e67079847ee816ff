package httpx

import (
	"context"
	"math"
	"strings"
	"sync"

	"github.com/vramsim/vramsim/scheduler"
	"github.com/vramsim/vramsim/scheduler/random"
)

// words are what prompts are made of: common ones, most of which are a token
// each for any tokenizer.
var words = strings.Fields("time year people way day man thing woman life child world school state family student group " +
	"country problem hand part place case week company system program question work government number night point home water " +
	"room mother area money story fact month lot right study book eye job word business issue side kind head house service " +
	"friend father power hour game line end member law car city community name")

// What a key of random numbers is for.
const (
	forPrompt = 1 + iota
	forTensor
	forSampling
)

// ask is what one item asks of a language model.
type ask struct {
	prompt string
	output int   // tokens to generate
	seed   int64 // of the sampling, 31 bits
}

// newAsk derives what an item asks: the words from its seed, so that items
// share no prefix that a server could keep, the number of tokens from its work.
func (c *Config) newAsk(item *scheduler.CommandItem) ask {
	stream := random.NewStream(random.Key(item.Seed, forPrompt))
	var prompt strings.Builder
	for i := range c.Prompt {
		if i > 0 {
			prompt.WriteByte(' ')
		}
		prompt.WriteString(words[stream.Uint64()%uint64(len(words))])
	}
	return ask{prompt: prompt.String(), output: scaled(c.Output, item.Work), seed: int64(random.Key(item.Seed, forSampling) >> 33)}
}

// maxLength bounds what work may blow up: no model has a longer context.
const maxLength = 1 << 24

// scaled returns n × work, rounded, from 1 to maxLength.
func scaled(n int, work int64) int {
	x := float64(n) * (float64(work) / scheduler.WorkUnit)
	return int(max(1, min(math.Round(x), maxLength)))
}

// each carries out the members of a batch side by side, which is how these
// servers form batches, and returns how long the longest kept the device busy.
// The first failure ends the others; all have ended when it returns.
func each(ctx context.Context, items []scheduler.CommandItem, f func(context.Context, *scheduler.CommandItem) (scheduler.Time, error)) (scheduler.Time, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	var longest scheduler.Time
	var first error
	var all sync.WaitGroup
	for i := range items {
		all.Go(func() {
			took, err := f(ctx, &items[i])
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, took)
			if err != nil && first == nil {
				first = err
				stop(err)
			}
		})
	}
	all.Wait()
	return longest, first
}
