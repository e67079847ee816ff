package scheduler_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/vramsim/vramsim"

// source is one file of the module that is not a test.
type source struct {
	pkg     string // folder, "/" between names
	name    string
	imports []string
	tree    *ast.File
}

// sources reads the module, files of every platform and build tag.
func sources(t *testing.T) []source {
	var found []source
	root := ".."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if name := d.Name(); file != root && (strings.HasPrefix(name, ".") || name == "testdata") {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s := source{pkg: path.Dir(filepath.ToSlash(rel)), name: filepath.Base(file), tree: tree}
		for _, i := range tree.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		found = append(found, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// within reports whether pkg is folder or lies in it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// testSupport drives the core in tests, its own and those of policies. It may
// use what tests use.
const testSupport = "scheduler/coretest"

// mayImport is the star: the core and what it rests on import the standard
// library; a sibling imports the core and itself; experiments and commands
// import several; nobody imports a command.
func mayImport(pkg, other string) bool {
	switch {
	case other == testSupport || other == "nvml/nvmltest":
		return false // tests are not read here
	case other == "nvml/internal/fakegpu":
		return pkg == "nvml/nvmltest"
	case within(other, "cmd"):
		return within(pkg, "cmd")
	case within(pkg, "cmd"):
		return true
	case within(pkg, "sim/experiment"):
		return true
	case within(other, "sim/experiment"):
		return false // of siblings, only commands know experiments
	case pkg == "scheduler" || within(pkg, "scheduler/random") || within(pkg, "scheduler/nearest"):
		return false
	case within(other, "scheduler"):
		return true
	}
	top, _, _ := strings.Cut(pkg, "/")
	return within(other, top)
}

// TestLayering reads the import graph.
func TestLayering(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		top, _, _ := strings.Cut(s.pkg, "/")
		seen[top] = true
		for _, name := range s.imports {
			other, ours := strings.CutPrefix(name, module+"/")
			switch {
			case ours && !mayImport(s.pkg, other):
				t.Errorf("%s/%s imports %s: packages form a star around scheduler; siblings never import each other", s.pkg, s.name, other)
			case !ours && within(s.pkg, "scheduler") && s.pkg != testSupport && strings.Contains(strings.Split(name, "/")[0], "."):
				t.Errorf("%s/%s imports %s: the core rests on the standard library only", s.pkg, s.name, name)
			}
		}
	}
	for _, top := range []string{"scheduler", "sim"} {
		if !seen[top] {
			t.Errorf("nothing was read of %s", top)
		}
	}
	for top := range seen {
		if !slices.Contains([]string{"scheduler", "sim", "workloads", "policies", "nvml", "cmd", "results"}, top) {
			t.Errorf("%s is no folder of the design", top)
		}
	}
}

// TestLayeringRules: the rules themselves forbid what they should.
func TestLayeringRules(t *testing.T) {
	for _, c := range []struct {
		pkg, other string
		want       bool
	}{
		{"policies", "scheduler", true}, {"policies/script", "policies", true}, {"results/metrics", "results/stats", true}, {"sim", "scheduler/random", true},
		{"sim/experiment", "policies", true}, {"cmd/vramsim", "sim/experiment", true}, {"cmd/vramsim", "results/report", true},
		{"policies", "sim", false}, {"sim", "workloads", false}, {"results/report", "policies", false}, {"scheduler", "sim", false},
		{"scheduler", "scheduler/random", false}, {"scheduler/nearest", "scheduler", false}, {"policies", "scheduler/nearest", true}, {"sim", "sim/experiment", false}, {"results", "cmd/vramsim", false}, {"policies", "policies2", false},
		{"sim/experiment", "cmd/vramsim", false}, {"scheduler/coretest", "scheduler", true}, {"policies", "scheduler/coretest", false},
		{"cmd/vramsim", "scheduler/coretest", false}, {"nvml", "nvml/nvmltest", false}, {"nvml/nvmltest", "nvml/internal/fakegpu", true},
		{"nvml/binding", "nvml/internal/fakegpu", false},
	} {
		if got := mayImport(c.pkg, c.other); got != c.want {
			t.Errorf("%s importing %s: %v", c.pkg, c.other, got)
		}
	}
}

// concurrent are the only files outside nvml and cmd that may have a clock,
// goroutines or channels: those of Live.
var concurrent = []string{"scheduler/live.go", "scheduler/inbox.go", "scheduler/executor.go", "scheduler/semaphore.go"}

// TestDeterminism: what decides, simulates and folds has no clock, no global
// randomness, no goroutines and no channels.
func TestDeterminism(t *testing.T) {
	for _, s := range sources(t) {
		if within(s.pkg, "nvml") || within(s.pkg, "cmd") || slices.Contains(concurrent, s.pkg+"/"+s.name) {
			continue
		}
		if within(s.pkg, "scheduler") || within(s.pkg, "sim") || within(s.pkg, "policies") || within(s.pkg, "workloads") || within(s.pkg, "results") {
			for _, what := range undetermined(s) {
				t.Errorf("%s/%s has %s", s.pkg, s.name, what)
			}
		}
	}
}

func undetermined(s source) []string {
	var found []string
	for _, name := range s.imports {
		if name == "math/rand" || name == "math/rand/v2" || name == "crypto/rand" {
			found = append(found, name)
		}
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, "a goroutine")
		case *ast.ChanType:
			found = append(found, "a channel")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"}, n.Sel.Name) {
				found = append(found, "time."+n.Sel.Name)
			}
		}
		return true
	})
	return found
}

// TestNoListener: nothing in the module opens a listening socket. Whatever ever
// has to would listen on the loopback address only and check Host and Origin.
func TestNoListener(t *testing.T) {
	for _, s := range sources(t) {
		ast.Inspect(s.tree, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name := sel.Sel.Name
			if x, ok := sel.X.(*ast.Ident); ok && (x.Name == "net" || x.Name == "http" || x.Name == "tls" || x.Name == "unix" || x.Name == "syscall") &&
				(strings.HasPrefix(name, "Listen") || strings.HasPrefix(name, "Serve") && name != "ServeMux" || name == "Server" || name == "FileListener") {
				t.Errorf("%s/%s uses %s.%s", s.pkg, s.name, x.Name, name)
			}
			return true
		})
	}
}
