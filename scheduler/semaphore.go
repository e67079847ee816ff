package scheduler

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// SemaphoreError refuses an amount that a VRAMSemaphore can never grant: more
// than its capacity, or less than nothing.
type SemaphoreError struct {
	Need     Bytes
	Capacity Bytes
}

func (e *SemaphoreError) Error() string {
	if e.Need < 0 {
		return fmt.Sprintf("%d bytes of memory cannot be acquired; the amount must not be negative", int64(e.Need))
	}
	return fmt.Sprintf("%d bytes of memory can never be acquired; the semaphore has %d", int64(e.Need), int64(e.Capacity))
}

// VRAMSemaphore shares a fixed amount of memory among goroutines: the simple
// alternative to a scheduler, for services in which everyone who needs a GPU
// waits for room. It counts in integer bytes and is fair: whoever came first
// is served first, so that a large request is never overtaken by small ones
// until it starves. Its methods may be called from several goroutines.
type VRAMSemaphore struct {
	mu       sync.Mutex
	capacity Bytes
	used     Bytes
	waiting  list.List // of *acquisition, first come first
}

// acquisition is a request that waits; granted is closed, under the
// semaphore's lock, once its bytes are its own.
type acquisition struct {
	need    Bytes
	granted chan struct{}
}

// NewVRAMSemaphore returns a semaphore of so many bytes. It panics if there
// are fewer than none.
func NewVRAMSemaphore(capacity Bytes) *VRAMSemaphore {
	if capacity < 0 {
		panic(fmt.Sprintf("bug: a semaphore of %d bytes", int64(capacity)))
	}
	return &VRAMSemaphore{capacity: capacity}
}

// Acquire waits until n bytes are free and everyone who asked before has been
// served, and returns what gives them back. It returns a *SemaphoreError at
// once if n is negative or exceeds the capacity, and the context's cause if
// that ends first: the request is then as if it had never been made. A context
// that has already ended is granted nothing. Zero bytes are granted at once,
// past everyone who waits.
//
// Release must be called exactly once; a second call panics.
func (s *VRAMSemaphore) Acquire(ctx context.Context, n Bytes) (release func(), err error) {
	if n < 0 || n > s.capacity {
		return nil, &SemaphoreError{Need: n, Capacity: s.capacity}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	if s.take(n) {
		s.mu.Unlock()
		return s.releaser(n), nil
	}
	a := &acquisition{need: n, granted: make(chan struct{})}
	place := s.waiting.PushBack(a)
	s.mu.Unlock()

	select {
	case <-a.granted:
		return s.releaser(n), nil
	case <-ctx.Done():
		s.giveUp(place)
		return nil, context.Cause(ctx)
	}
}

// TryAcquire is Acquire without waiting: it reports false if n bytes are not
// free now, if others wait, or if n can never be granted.
func (s *VRAMSemaphore) TryAcquire(n Bytes) (release func(), ok bool) {
	if n < 0 {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.take(n) {
		return nil, false
	}
	return s.releaser(n), true
}

// Capacity returns how many bytes there are in all.
func (s *VRAMSemaphore) Capacity() Bytes { return s.capacity }

// InUse returns how many bytes are acquired and not yet released.
func (s *VRAMSemaphore) InUse() Bytes {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// Waiting returns how many requests wait.
func (s *VRAMSemaphore) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.Len()
}

// take grants n bytes if nobody has to wait for them. The lock is held.
func (s *VRAMSemaphore) take(n Bytes) bool {
	if n != 0 && (s.waiting.Len() > 0 || n > s.capacity-s.used) {
		return false
	}
	s.used += n
	return true
}

// serve grants what now fits, in order. The lock is held.
func (s *VRAMSemaphore) serve() {
	for place := s.waiting.Front(); place != nil; place = s.waiting.Front() {
		a := place.Value.(*acquisition)
		if a.need > s.capacity-s.used {
			return
		}
		s.used += a.need
		s.waiting.Remove(place)
		close(a.granted)
	}
}

// giveUp withdraws a request whose context ended, also one that was granted
// in the same moment.
func (s *VRAMSemaphore) giveUp(place *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := place.Value.(*acquisition)
	select {
	case <-a.granted:
		s.used -= a.need
	default:
		s.waiting.Remove(place)
	}
	s.serve()
}

// releaser returns what gives n bytes back, once.
func (s *VRAMSemaphore) releaser(n Bytes) func() {
	released := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if released {
			panic(fmt.Sprintf("bug: %d bytes of memory were released twice", int64(n)))
		}
		released = true
		s.used -= n
		s.serve()
	}
}
