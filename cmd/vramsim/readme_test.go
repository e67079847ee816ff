package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme executes the page that newcomers copy from: every line of its
// shell blocks in order, in one folder, and its Go program. Only what would run
// these tests again is left out. Files that the page downloads are copied from
// the recorded traces, without which their block and what needs them is skipped.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := blocksOf(string(page))
	if len(blocks["sh"]) < 4 || blocks["sh"][0] != "go run ./cmd/vramsim run\ngo test ./...\n" {
		t.Fatalf("the first of %d shell blocks is not the two commands:\n%s", len(blocks["sh"]), blocks["sh"][0])
	}
	for i, program := range blocks["go"] {
		t.Run("program", func(t *testing.T) { runProgram(t, root, i, program) })
	}
	if len(blocks["go"]) == 0 {
		t.Error("there is no program")
	}
	if os.Getenv("VRAMSIM_TRACES") == "" {
		t.Setenv("VRAMSIM_TRACES", filepath.Join(root, "..", "shared", "traces"))
	}
	t.Chdir(t.TempDir())
	for i, block := range blocks["sh"] {
		if i == 0 && os.Getenv("VRAMSIM_LONG") == "" { // .ci/run executes it as it stands
			block = strings.Replace(block, "vramsim run\n", "vramsim run --quick\n", 1)
		}
		t.Run("shell", func(t *testing.T) {
			for line := range strings.Lines(block) {
				line = strings.TrimSpace(line)
				if strings.HasPrefix(line, "vramsim run ") && os.Getenv("VRAMSIM_LONG") == "" {
					line += " --replicates 1"
				}
				execute(t, line)
			}
		})
	}
}

// blocksOf returns the fenced blocks of a page by their language.
func blocksOf(page string) map[string][]string {
	blocks := map[string][]string{}
	for _, match := range regexp.MustCompile("(?ms)^```(\\w+)\\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks[match[1]] = append(blocks[match[1]], match[2])
	}
	return blocks
}

func runProgram(t *testing.T, root string, i int, program string) {
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(program), 0o666); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command("go", "run", file)
	cmd.Dir, cmd.Stderr = root, &stderr
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "done" {
		t.Errorf("program %d: %v: %s%s", i, err, out, stderr.Bytes())
	}
}

// execute carries out one line: vramsim in this process, a few others.
func execute(t *testing.T, line string) {
	t.Helper()
	words := wordsOf(line)
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "../shared/"); ok { // beside the module, not this folder
			words[i] = shared(t, filepath.FromSlash(name))
		}
	}
	if strings.HasPrefix(line, "go run ./cmd/vramsim ") {
		words = append([]string{"vramsim"}, words[3:]...)
	}
	switch {
	case line == "" || line == "go test ./...":
	case words[0] == "vramsim":
		if code, stdout, stderr := vramsim(t, words[1:]...); code != 0 && !busyHost(words, code) {
			t.Fatalf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
	case words[0] == "mkdir" && words[1] == "-p":
		if err := os.MkdirAll(words[2], 0o777); err != nil {
			t.Fatal(err)
		}
	case words[0] == "curl":
		download(t, words)
	default:
		t.Fatalf("%s: the test cannot execute it", line)
	}
}

// busyHost reports whether a command failed only because what goes by the real
// clock was late: a run is INVALID then, and may miss the targets of fidelity.
func busyHost(words []string, code int) bool {
	switch words[1] {
	case "gpu":
		return code == exitInvalid
	case "fidelity":
		return code == exitInvalid || code == exitThreshold
	}
	return false
}

// download stands in for curl -o FILE URL with the recorded traces.
func download(t *testing.T, words []string) {
	t.Helper()
	to, url := words[len(words)-2], words[len(words)-1]
	data, err := os.ReadFile(sharedFrom(t, url))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// sharedFrom finds the recorded copy of the file that a URL of GitHub names.
func sharedFrom(t *testing.T, url string) string {
	t.Helper()
	name := url[strings.LastIndex(url, "/")+1:]
	repository := strings.Split(url, "/")[4]
	return shared(t, "traces", repository, name)
}

// wordsOf splits a line as a shell does, as far as quotes go.
func wordsOf(line string) (words []string) {
	var word strings.Builder
	quoted, any := false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, any = !quoted, true
		case r == ' ' && !quoted:
			if any || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(r)
		}
	}
	if any || word.Len() > 0 {
		words = append(words, word.String())
	}
	return words
}

// TestReadmeNamesRealCommands: every verb and flag in the page's tables and
// text exists.
func TestReadmeNamesRealCommands(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(&app{})
	found := 0
	for _, match := range regexp.MustCompile("`(vramsim [^`]*)`").FindAllStringSubmatch(string(page), -1) {
		words := wordsOf(match[1])
		cmd, _, err := root.Find(words[1:2])
		if err != nil || cmd == root {
			t.Errorf("%s: there is no such command", match[1])
			continue
		}
		found++
		for _, word := range words[2:] {
			name, isFlag := strings.CutPrefix(word, "--")
			short, isShort := strings.CutPrefix(word, "-")
			switch {
			case isFlag && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil:
				t.Errorf("%s: %s has no flag --%s", match[1], cmd.Name(), name)
			case !isFlag && isShort && len(short) == 1 && cmd.Flags().ShorthandLookup(short) == nil:
				t.Errorf("%s: %s has no flag -%s", match[1], cmd.Name(), short)
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d commands on the page", found)
	}
}
