package httpx

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// TestHalf compares half precision with what its bits mean (IEEE 754).
func TestHalf(t *testing.T) {
	for u := range uint64(1024) {
		bits := half(u)
		exponent, fraction := int(bits>>10), float64(bits&0x3ff)
		value := math.Ldexp(1+fraction/1024, exponent-15)
		if exponent == 0 {
			value = math.Ldexp(fraction/1024, -14)
		}
		if value != float64(u)/1024 {
			t.Fatalf("half(%d) is %g", u, value)
		}
	}
}

// TestTensors: as long as their shape says, the same for a seed, other for
// another, numbers in [0, 1).
func TestTensors(t *testing.T) {
	cfg := Config{Prompt: 3}
	items := []scheduler.CommandItem{{Seed: 1, Work: scheduler.WorkUnit}, {Seed: 2, Work: 3 * scheduler.WorkUnit}}
	shape := (&tritonConfig{MaxBatch: 4}).shape(&tritonInput{Dims: []flexInt{-1, 5}}, cfg.Prompt, items)
	if len(shape) != 3 || shape[0] != 2 || shape[1] != 9 || shape[2] != 5 {
		t.Fatalf("shape %v", shape)
	}
	for kind, size := range elementSizes {
		var first, again bytes.Buffer
		if err := errors.Join(cfg.fillTensor(&first, kind, shape, true, items), cfg.fillTensor(&again, kind, shape, true, items)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), again.Bytes()) {
			t.Errorf("%s: not the same twice", kind)
		}
		if size > 0 && int64(first.Len()) != 90*size {
			t.Errorf("%s: %d bytes", kind, first.Len())
		}
		rows := [2][]byte{first.Bytes()[:first.Len()/2], first.Bytes()[first.Len()/2:]}
		if seeded := kind[0] == 'F' || kind == "BF16" || kind == "UINT8" || kind == "BYTES"; seeded == bytes.Equal(rows[0], rows[1]) {
			t.Errorf("%s: rows of two seeds are equal: %v", kind, !seeded)
		}
		checkElements(t, kind, first.Bytes())
	}
}

func checkElements(t *testing.T, kind string, data []byte) {
	t.Helper()
	for len(data) > 0 {
		var v float64
		switch kind {
		case "FP64":
			v = math.Float64frombits(binary.LittleEndian.Uint64(data))
		case "FP32":
			v = float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
		case "BF16":
			v = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data)) << 16))
		case "INT64":
			v = float64(binary.LittleEndian.Uint64(data)) - 1
		case "BYTES":
			n := int(binary.LittleEndian.Uint32(data))
			if n == 0 || len(bytes.Fields(data[4:4+n])) != 3 {
				t.Fatalf("a text %q", data[4:4+n])
			}
			data = data[4+n:]
			continue
		default:
			return
		}
		if v < 0 || v >= 1 || kind == "INT64" && v != 0 {
			t.Fatalf("%s: element %g", kind, v)
		}
		data = data[elementSizes[kind]:]
	}
}

// TestAsks: what an item asks is its seed's, how much its work's.
func TestAsks(t *testing.T) {
	cfg := Config{Prompt: 5, Output: 10}
	ask := func(seed uint64, work int64) ask { return cfg.newAsk(&scheduler.CommandItem{Seed: seed, Work: work}) }
	one := ask(1, scheduler.WorkUnit)
	if one != ask(1, scheduler.WorkUnit) || one.prompt == ask(2, scheduler.WorkUnit).prompt || one.seed == ask(2, scheduler.WorkUnit).seed {
		t.Error("prompts do not follow the seed")
	}
	for work, want := range map[int64]int{0: 1, 1: 1, scheduler.WorkUnit: 10, scheduler.WorkUnit * 5 / 2: 25, math.MaxInt64: maxLength} {
		if got := ask(1, work).output; got != want {
			t.Errorf("work %d asks for %d tokens, not %d", work, got, want)
		}
	}
	if len(bytes.Fields([]byte(one.prompt))) != 5 || one.seed < 0 || one.seed >= 1<<31 {
		t.Errorf("%+v", one)
	}
}

// TestLimits: ten times the estimate, and at least what is configured.
func TestLimits(t *testing.T) {
	e, err := New(Config{Servers: []Server{{Kind: Triton, URL: "http://localhost"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		op       scheduler.Operation
		estimate scheduler.Time
		want     time.Duration
	}{
		{scheduler.OpLoad, 0, time.Minute}, {scheduler.OpLoad, 7 * scheduler.Second, 70 * time.Second}, {scheduler.OpRun, scheduler.Second, 30 * time.Second},
		{scheduler.OpRun, 4 * scheduler.Second, 40 * time.Second}, {scheduler.OpEvict, 100 * scheduler.Second, 30 * time.Second},
		{scheduler.OpRun, scheduler.MaxTime, 240 * time.Hour},
	} {
		if got := e.limit(&scheduler.Command{Op: c.op, Estimate: c.estimate}); got != c.want {
			t.Errorf("%v of %v: %v, not %v", c.op, c.estimate, got, c.want)
		}
	}
}

// TestOnlyLocal: no name leads away from this machine.
func TestOnlyLocal(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true, "192.0.2.1:80": false, "[2001:db8::1]:80": false, "x": false} {
		if got := onlyLocal("tcp", address, nil) == nil; got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	tr := newTransport(&Config{}).(*http.Transport)
	if tr.Proxy != nil {
		t.Error("a proxy is used")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := tr.DialContext(ctx, "tcp", "192.0.2.1:80"); !has[*RemoteError](err) {
		t.Errorf("a connection to elsewhere: %v", err)
	}
}

// TestErrorTexts finds the message in what servers answer.
func TestErrorTexts(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"load failed"}`: "load failed", `{"error":{"message":"no","code":500}}`: "no", `{"detail":"Not Found"}`: "Not Found",
		`{"object":"error","message":"too long"}`: "too long", `{"x":1}`: `{"x":1}`, `plain`: "plain", "": "",
	} {
		if got := errorText([]byte(body)); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
	c := client{token: "hush"}
	if got := c.clean(" a\n\x1b[31mhush\xff "); got != "a  [31m[secret]�" {
		t.Errorf("%q", got)
	}
	if got := c.clean(string(bytes.Repeat([]byte("ü"), 500))); len(got) > maxText+8 {
		t.Errorf("%d bytes are kept", len(got))
	}
}

// TestRetryable: what may succeed later.
func TestRetryable(t *testing.T) {
	for status, want := range map[int]bool{400: false, 401: false, 404: false, 408: true, 425: true, 429: true, 500: true, 501: false, 502: true, 503: true, 505: false, 307: false} {
		if got := failure(&statusError{path: "/", status: status}).Retryable; got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
}
