package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vramsim/vramsim/results/rundir"
)

// shard is a part of a sweep's simulations: every of-th, the nth of them. The
// zero value is all.
type shard struct{ n, of int }

// parseShard reads "2/4".
func parseShard(text string) (shard, error) {
	if text == "" {
		return shard{}, nil
	}
	first, last, ok := strings.Cut(text, "/")
	n, err1 := strconv.Atoi(first)
	of, err2 := strconv.Atoi(last)
	if !ok || err1 != nil || err2 != nil || n < 1 || of < n {
		return shard{}, usagef("--shard %q: it is i/n with i from 1 to n, like 2/4", text)
	}
	return shard{n, of}, nil
}

func (s shard) String() string { return fmt.Sprintf("shard %d of %d", s.n, s.of) }

// has reports whether the shard has the i-th simulation, from 0.
func (s shard) has(i int) bool { return s.of == 0 || i%s.of == s.n-1 }

// partial reports whether it leaves simulations out.
func (s shard) partial() bool { return s.of > 1 }

// takeOver copies into the run directory the simulations that others have
// finished and it has not: shards of the same sweep.
func (r *runner) takeOver(others []string) error {
	for _, path := range others {
		other, err := rundir.Open(path)
		if err != nil {
			return err
		}
		for _, u := range r.units() {
			from, to := other.Join(r.folder(u)), r.dir.Join(r.folder(u))
			if !exists(filepath.Join(from, "result.json")) || exists(filepath.Join(to, "result.json")) {
				continue
			}
			if err := os.RemoveAll(to); err != nil {
				return err
			}
			if err := os.CopyFS(to, os.DirFS(from)); err != nil {
				return err
			}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
