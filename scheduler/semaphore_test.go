package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vramsim/vramsim/scheduler"
	"pgregory.net/rapid"
)

// semaphoreModel is the semaphore as one would write it without concurrency.
type semaphoreModel struct {
	capacity, used scheduler.Bytes
	held           map[int]scheduler.Bytes
	waiting        []int // requests, first come first
	need           map[int]scheduler.Bytes
}

func (m *semaphoreModel) acquire(id int, n scheduler.Bytes) {
	m.need[id] = n
	if n == 0 || len(m.waiting) == 0 && m.used+n <= m.capacity {
		m.grant(id)
		return
	}
	m.waiting = append(m.waiting, id)
}

func (m *semaphoreModel) grant(id int) {
	m.used += m.need[id]
	m.held[id] = m.need[id]
}

func (m *semaphoreModel) serve() {
	for len(m.waiting) > 0 && m.used+m.need[m.waiting[0]] <= m.capacity {
		m.grant(m.waiting[0])
		m.waiting = m.waiting[1:]
	}
}

func (m *semaphoreModel) release(id int) {
	m.used -= m.held[id]
	delete(m.held, id)
	m.serve()
}

func (m *semaphoreModel) withdraw(id int) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w int) bool { return w == id })
	m.serve()
}

// semaphoreRun drives a semaphore and its model through the same requests.
type semaphoreRun struct {
	s        *scheduler.VRAMSemaphore
	m        semaphoreModel
	releases map[int]func()
	cancels  map[int]context.CancelFunc
	granted  chan grant
	gaveUp   chan int
	next     int
}

type grant struct {
	id      int
	release func()
}

func (r *semaphoreRun) acquire(n scheduler.Bytes) {
	id := r.next
	r.next++
	ctx, cancel := context.WithCancel(context.Background())
	r.cancels[id] = cancel
	go func() {
		release, err := r.s.Acquire(ctx, n)
		if err != nil {
			r.gaveUp <- id
			return
		}
		r.granted <- grant{id, release}
	}()
	r.m.acquire(id, n)
}

// compare lets the semaphore come to rest and says where it differs.
func (r *semaphoreRun) compare() error {
	synctest.Wait()
	for len(r.granted) > 0 {
		g := <-r.granted
		r.releases[g.id] = g.release
	}
	for id := range r.m.held {
		if r.releases[id] == nil {
			return fmt.Errorf("request %d is not granted", id)
		}
	}
	if len(r.releases) != len(r.m.held) {
		return fmt.Errorf("%d are granted, the model has %d", len(r.releases), len(r.m.held))
	}
	if r.s.InUse() != r.m.used || r.s.Waiting() != len(r.m.waiting) {
		return fmt.Errorf("%d bytes in use and %d waiting, the model has %d and %d", r.s.InUse(), r.s.Waiting(), r.m.used, len(r.m.waiting))
	}
	return nil
}

func oneOf(t *rapid.T, of map[int]scheduler.Bytes) int {
	ids := make([]int, 0, len(of))
	for id := range of {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(t, "id")
}

func (r *semaphoreRun) step(t *rapid.T) {
	n := scheduler.Bytes(rapid.IntRange(0, int(r.m.capacity)).Draw(t, "bytes"))
	switch action := rapid.SampledFrom([]string{"acquire", "acquire", "try", "release", "withdraw"}).Draw(t, "action"); {
	case action == "acquire":
		r.acquire(n)
	case action == "try":
		release, ok := r.s.TryAcquire(n)
		if want := n == 0 || len(r.m.waiting) == 0 && r.m.used+n <= r.m.capacity; ok != want {
			t.Fatalf("TryAcquire(%d) is %v", n, ok)
		}
		if ok {
			r.m.acquire(r.next, n)
			r.releases[r.next] = release
			r.next++
		}
	case action == "release" && len(r.m.held) > 0:
		id := oneOf(t, r.m.held)
		r.releases[id]()
		delete(r.releases, id)
		r.m.release(id)
	case action == "withdraw" && len(r.m.waiting) > 0:
		id := rapid.SampledFrom(r.m.waiting).Draw(t, "who")
		r.cancels[id]()
		r.m.withdraw(id)
	}
	if err := r.compare(); err != nil {
		t.Fatal(err)
	}
}

// finish gives everything back; nobody may be left behind.
func (r *semaphoreRun) finish() error {
	for len(r.m.held) > 0 {
		for id, release := range r.releases {
			release()
			delete(r.releases, id)
			r.m.release(id)
			break
		}
		if err := r.compare(); err != nil {
			return err
		}
	}
	for _, cancel := range r.cancels {
		cancel()
	}
	return nil
}

// bubble runs f in a synctest bubble on behalf of rapid, which tells failures
// and rejected draws by panics.
func bubble(t *testing.T, f func()) {
	var panicked any
	synctest.Test(t, func(*testing.T) {
		defer func() { panicked = recover() }()
		f()
	})
	if panicked != nil {
		panic(panicked)
	}
}

func TestVRAMSemaphoreIsItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		capacity := scheduler.Bytes(rapid.IntRange(0, 8).Draw(rt, "capacity"))
		steps := rapid.IntRange(1, 30).Draw(rt, "steps")
		bubble(t, func() {
			r := &semaphoreRun{s: scheduler.NewVRAMSemaphore(capacity),
				m:        semaphoreModel{capacity: capacity, held: map[int]scheduler.Bytes{}, need: map[int]scheduler.Bytes{}},
				releases: map[int]func(){}, cancels: map[int]context.CancelFunc{},
				granted: make(chan grant, 100), gaveUp: make(chan int, 100)}
			defer func() { // so that a failed draw leaves no goroutine behind
				for _, cancel := range r.cancels {
					cancel()
				}
			}()
			for range steps {
				r.step(rt)
			}
			if err := r.finish(); err != nil {
				rt.Fatal(err)
			}
		})
	})
}

func TestVRAMSemaphoreRefuses(t *testing.T) {
	s := scheduler.NewVRAMSemaphore(10)
	for _, n := range []scheduler.Bytes{-1, 11} {
		_, err := s.Acquire(context.Background(), n)
		var refused *scheduler.SemaphoreError
		if !errors.As(err, &refused) || refused.Need != n || refused.Capacity != 10 {
			t.Errorf("Acquire(%d): %v", n, err)
		}
		if _, ok := s.TryAcquire(n); ok {
			t.Errorf("TryAcquire(%d) succeeded", n)
		}
	}
	ended, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := s.Acquire(ended, 1); err != cause {
		t.Errorf("with an ended context: %v", err)
	}
	if s.InUse() != 0 || s.Waiting() != 0 || s.Capacity() != 10 {
		t.Errorf("refusals changed it: %d in use, %d waiting", s.InUse(), s.Waiting())
	}
}

func TestVRAMSemaphoreServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scheduler.NewVRAMSemaphore(10)
		first, _ := s.TryAcquire(8)
		order := make(chan string, 2)
		acquire := func(name string, n scheduler.Bytes) {
			go func() {
				release, err := s.Acquire(t.Context(), n)
				if err != nil {
					t.Error(err)
					return
				}
				order <- name
				time.Sleep(time.Second)
				release()
			}()
			synctest.Wait()
		}
		acquire("large", 9)
		acquire("small", 1) // would fit now, but came later
		if s.Waiting() != 2 {
			t.Fatalf("%d wait", s.Waiting())
		}
		if _, ok := s.TryAcquire(1); ok {
			t.Error("TryAcquire overtook those who wait")
		}
		first()
		synctest.Wait()
		if len(order) != 2 || s.InUse() != 10 {
			t.Errorf("%d were served, %d in use", len(order), s.InUse())
		}
		time.Sleep(2 * time.Second)
	})
}

func TestVRAMSemaphoreReleasedTwice(t *testing.T) {
	s := scheduler.NewVRAMSemaphore(10)
	release, _ := s.TryAcquire(3)
	release()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "bug: ") {
			t.Errorf("panic: %s", p)
		}
		if s.InUse() != 0 {
			t.Errorf("%d in use", s.InUse())
		}
	}()
	release()
}

func TestVRAMSemaphoreOfNegativeCapacity(t *testing.T) {
	defer func() {
		if p := fmt.Sprint(recover()); !strings.HasPrefix(p, "bug: ") {
			t.Errorf("panic: %s", p)
		}
	}()
	scheduler.NewVRAMSemaphore(-1)
}

// A request that is granted in the moment in which its context ends keeps
// nothing, whichever of the two it saw.
func TestVRAMSemaphoreGrantedAndWithdrawn(t *testing.T) {
	granted := 0
	for i := range 1000 {
		synctest.Test(t, func(t *testing.T) {
			s := scheduler.NewVRAMSemaphore(10)
			holder, _ := s.TryAcquire(10)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if release, err := s.Acquire(ctx, 10); err == nil {
					granted++
					release()
				}
			}()
			synctest.Wait()
			if i%2 == 0 {
				holder()
				cancel()
			} else {
				cancel()
				holder()
			}
			synctest.Wait()
			if s.InUse() != 0 || s.Waiting() != 0 {
				t.Fatalf("%d in use, %d waiting", s.InUse(), s.Waiting())
			}
		})
	}
	if granted < 500 {
		t.Errorf("of the 500 requests that were granted first %d saw it", granted)
	}
}
