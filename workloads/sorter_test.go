package workloads

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/scheduler"
)

// shuffled returns items of few instants, many of which tie.
func shuffled(n int, seed uint64) []Item {
	r := rand.New(rand.NewPCG(seed, 1))
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{ID: fmt.Sprint("i", i), Model: "m", At: scheduler.Time(r.IntN(n/3 + 1)), Deadline: scheduler.Never, Work: scheduler.WorkUnit, Service: NoService}
		if r.IntN(5) == 0 {
			items[i].Tenant = strings.Repeat("t", r.IntN(200))
		}
	}
	return items
}

func sorted(t *testing.T, s *Sorter, items []Item) string {
	t.Helper()
	for i := range items {
		if err := s.Add(&items[i]); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := s.WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// However little it may hold, a sorter gives what a stable sort gives, and
// leaves nothing behind.
func TestSorterIsAStableSort(t *testing.T) {
	for seed, n := range []int{1, 2, 10, 500, 1000} {
		items := shuffled(n, uint64(seed))
		want := slices.Clone(items)
		slices.SortStableFunc(want, func(a, b Item) int { return int(a.At - b.At) })
		var b bytes.Buffer
		w := NewWriter(&b)
		for i := range want {
			if err := w.Write(&want[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 300, 20_000, 0} {
			dir := t.TempDir()
			s := Sorter{Dir: dir, limit: limit}
			if got := sorted(t, &s, items); got != b.String() {
				t.Fatalf("%d items, limit %d: another order", n, limit)
			}
			if spilled := limit > 0 && limit < 100*n; spilled != (len(s.runs) > 1) && n > 2 {
				t.Errorf("%d items, limit %d: %d runs", n, limit, len(s.runs))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%d items, limit %d: %s is left", n, limit, left[0].Name())
			}
		}
	}
}

func TestSorterErrors(t *testing.T) {
	s := Sorter{Dir: t.TempDir() + "/none", limit: 1}
	items := shuffled(2, 1)
	if err := s.Add(&items[0]); !os.IsNotExist(err) {
		t.Errorf("no folder for the temporary file: %v", err)
	}
	items[0].ID = ""
	if err := s.Add(&items[0]); err == nil || !strings.Contains(err.Error(), "no id") {
		t.Errorf("an item without id: %v", err)
	}
	s = Sorter{Dir: t.TempDir(), limit: 1}
	defer s.Close()
	items = shuffled(3, 1)
	for i := range items {
		if err := s.Add(&items[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.file.Truncate(s.end - 1); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteTo(NewWriter(&bytes.Buffer{})); err == nil || !strings.Contains(err.Error(), "temporary file: unexpected EOF") {
		t.Errorf("a cut temporary file: %v", err)
	}
}

func TestNames(t *testing.T) {
	var names Names
	for i, name := range []string{"a", "b", "a", "", "b"} {
		number, old := names.Add(name)
		if want := []int64{0, 1, 0, 2, 1}[i]; number != want || old != (i == 2 || i == 4) {
			t.Errorf("%q: %d, %v", name, number, old)
		}
	}
	if names.Len() != 3 {
		t.Errorf("%d names", names.Len())
	}
}
