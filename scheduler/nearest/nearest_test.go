package nearest

import "testing"

func TestTo(t *testing.T) {
	names := []string{"fifo", "priority", "edf-setup", "sticky", "sjf", "p90", "p95", "Qwen3", "m"}
	for _, c := range []struct{ word, want string }{
		{"fifo", "fifo"}, {"fifp", "fifo"}, {"pirority", "priority"}, {"edf_setup", "edf-setup"}, {"edfsetup", "edf-setup"},
		{"STICKY", "sticky"}, {"qwen3", "Qwen3"}, {"qwen", "Qwen3"},
		{"p98", "p90"},       // the first of equals
		{"prio", "priority"}, // a beginning
		{"fi", "fifo"}, {"st", "sticky"},
		{"s", ""},                     // too short to begin anything
		{"x", ""},                     // nothing of it would be left
		{"sjxy", "sjf"}, {"sxyz", ""}, // two edits of four letters, and three
		{"prioxxxy", "priority"}, {"prixxxxy", ""}, // three edits of eight, and four
		{"", ""}, {"zzzz", ""},
	} {
		if got := To(c.word, names); got != c.want {
			t.Errorf("nearest to %q: %q, want %q", c.word, got, c.want)
		}
	}
	if got := To("fifo", nil); got != "" {
		t.Errorf("nearest of none: %q", got)
	}
}

func TestEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"whispr", "whisper", 1}, {"whhisper", "whisper", 1},
		{"ab", "ba", 1}, {"ca", "abc", 3}, // a swapped pair is not edited again
	} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d edits, want %d", c.a, c.b, got, c.want)
		}
	}
}
