package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestReproduceCanBePasted: a shell takes the command of the report apart into
// the arguments that were given.
func TestReproduceCanBePasted(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no POSIX shell")
	}
	args := []string{"vramsim", "run", "my experiment.yaml", "--set", "output.charts=[svg]", "--policy", "{use: max-wait, params: {wait: 30s}}",
		"it's", "", "$HOME", "~", "a;b", "*", "\\", "two\nlines", "héllo", "--set=workload.arrivals.poisson.rate=40/h"}
	out, err := exec.Command(shell, "-c", `show() { for arg; do printf '%s\0' "$arg"; done; }; show `+shellCommand(args)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, args) {
		t.Errorf("%s became %q", shellCommand(args), got)
	}
	if got := shellCommand([]string{"vramsim", "run", "a.yaml", "--seed", "3"}); got != "vramsim run a.yaml --seed 3" {
		t.Errorf("quoted without need: %s", got)
	}
}
