package worker_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/vramsim/vramsim/nvml/worker"
)

// TestParseRefuses: what is no line of the protocol.
func TestParseRefuses(t *testing.T) {
	deep := strings.Repeat("[", 20) + strings.Repeat("]", 20)
	for line, says := range map[string]string{
		``:                                       "no JSON",
		`null`:                                   "no JSON object",
		`[]`:                                     "no JSON object",
		`{"ev":"hb","t_ns":1}x`:                  "follows",
		`{"ev":"hb","t_ns":1}{}`:                 "follows",
		`{"ev":"hb","t_ns":1`:                    "no JSON",
		`{"ev":"hb","ev":"ran"}`:                 "stands twice",
		`{"ev":"hb","x":{"y":1,"y":2}}`:          "stands twice",
		`{"ev":"hb","t_ns":1.5}`:                 "64-bit integer",
		`{"ev":"hb","t_ns":1e3}`:                 "64-bit integer",
		`{"ev":"hb","t_ns":9223372036854775808}`: "64-bit integer",
		`{"ev":"hb","t_ns":"1"}`:                 "no number",
		`{"ev":"hb","id":-1}`:                    "negative",
		`{"ev":7}`:                               "no string",
		`{"t_ns":1}`:                             "no ev",
		`{"EV":"hb"}`:                            "no ev",
		`{"ev":"ran","vram":[]}`:                 "no object",
		`{"ev":"ran","vram":{"free":-1}}`:        "negative",
		`{"ev":"ran","first":1}`:                 "neither true nor false",
		`{"ev":"hello","caps":[1]}`:              "no string",
		`{"ev":"hello","models":[1]}`:            "no object",
		`{"ev":"hb","x":` + deep + `}`:           "deeper",
		"{\"ev\":\"hb\",\"x\":\"\xff\"}":         "UTF-8",
		`{"ev":"` + strings.Repeat("x", worker.MaxLine) + `"}`: "8 MiB",
		`{"ev":"hb","x":NaN}`: "no JSON",
	} {
		if _, err := worker.ParseReply([]byte(line)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: %v; want %q", line, err, says)
		}
	}
	for _, line := range []string{`{"op":"mem"}`, `{"id":1}`, `{"op":"mem","id":0}`, `{"op":"run","id":1,"items":[{"id":1,"work":-1}]}`} {
		if _, err := worker.ParseRequest([]byte(line)); err == nil {
			t.Errorf("%s is taken", line)
		}
	}
}

// TestParseIgnoresUnknownFields: newer workers may say more.
func TestParseIgnoresUnknownFields(t *testing.T) {
	r, err := worker.ParseReply([]byte(`{"ev":"ran","id":3,"t_ns":-5,"n":2,"gpu_ns":9223372036854775807,"new":{"a":[1,{"b":null}]},"ID":9,"vram":{"free":1,"x":2},"first":null}`))
	want := worker.Reply{Event: "ran", ID: 3, At: -5, N: 2, Device: 1<<63 - 1, Memory: &worker.Memory{Free: 1}}
	if err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzReply: what is accepted would be written, and is read as the same again.
func FuzzReply(f *testing.F) {
	for _, line := range []string{`{"ev":"hb","t_ns":1,"busy":0}`, `{"ev":"error","id":1,"code":"oom","retryable":true,"msg":"x"}`,
		`{"ev":"loaded","id":2,"bytes":5,"wall_ns":7,"first":true,"phases":{"build_ns":1,"h2d_ns":-2},"vram":{"free":1,"total":2}}`,
		`{"ev":"hello","proto":1,"worker":"w","pid":5,"device":{"uuid":"u","total":9},"caps":["stage"],"concurrent":2,"models":[{"name":"m","bytes":1}],"versions":{"a":"b"},"spawn":{"total_ns":4}}`,
		`{"ev":"telemetry","id":4,"energy_mj":1,"processes":[{"pid":1,"bytes":2}]}`, `{"ev":"x","ev":"y"}`, `{}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := worker.ParseReply(line)
		if err != nil {
			return
		}
		text, err := r.Line()
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", line, err)
		}
		again, err := worker.ParseReply(text)
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%s was read as %+v, written as %s and read as %+v, %v", line, r, text, again, err)
		}
	})
}

// FuzzRequest: the same of requests.
func FuzzRequest(f *testing.F) {
	for _, line := range []string{`{"op":"run","id":3,"timeout_ms":5,"model":"m","items":[{"id":-1,"work":2,"seed":3}]}`,
		`{"op":"load","id":1,"model":"m","tier":"disk","warmup":true}`, `{"op":"cancel","id":9,"target":8}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := worker.ParseRequest(line)
		if err != nil {
			return
		}
		text, err := r.Line()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := worker.ParseRequest(text); err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%s was read as %+v and then as %+v, %v", line, r, again, err)
		}
	})
}
