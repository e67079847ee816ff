package binding

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const upstream = "github.com/NVIDIA/go-nvml"

// TestOnlyImporter: nobody else of the module imports go-nvml, and here only
// files that default builds leave out.
func TestOnlyImporter(t *testing.T) {
	var importers []string
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if path != root && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool { return strings.HasPrefix(strings.Trim(i.Path.Value, `"`), upstream) }) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		importers = append(importers, filepath.ToSlash(rel))
		if !strings.HasPrefix(f.Comments[0].Text()+f.Comments[0].List[0].Text, "//go:build linux && cgo && nvml") {
			t.Errorf("%s is not confined to builds with the tag nvml", rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"nvml/binding/calls.go", "nvml/binding/library.go"}; !slices.Equal(importers, want) {
		t.Errorf("go-nvml is imported by %v, want %v", importers, want)
	}
}

// uses is how the package uses go-nvml.
type uses struct {
	table   map[string][]string // from the source: function, its symbols
	asked   map[string]bool     // called inside ask under its own name
	bare    []string            // called elsewhere
	methods map[string]bool     // called on values
	own     map[string]bool     // methods that the package declares
	fields  map[string]bool     // field ids
}

func read(t *testing.T) *uses {
	u := &uses{table: map[string][]string{}, asked: map[string]bool{}, methods: map[string]bool{}, own: map[string]bool{}, fields: map[string]bool{}}
	for _, name := range []string{"calls.go", "library.go", "probe.go", "device.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		packages := map[string]bool{"gonvml": true, "dl": true}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			packages[path[strings.LastIndex(path, "/")+1:]] = true
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				u.own[fn.Name.Name] = true
			}
		}
		u.walk(f, packages, "")
	}
	return u
}

// walk collects; within is the name that an enclosing ask was given.
func (u *uses) walk(n ast.Node, packages map[string]bool, within string) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			u.row(n)
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "gonvml" && strings.HasPrefix(n.Sel.Name, "FI_") {
				u.fields[n.Sel.Name] = true
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && id.Name == "ask" && within == "" {
				name, _ := strconv.Unquote(n.Args[1].(*ast.BasicLit).Value)
				u.walk(n.Args[2], packages, name)
				return false
			}
			u.call(n, packages, within)
		}
		return true
	})
}

func (u *uses) call(n *ast.CallExpr, packages map[string]bool, within string) {
	sel, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	x, named := sel.X.(*ast.Ident)
	switch {
	case named && x.Name == "gonvml" && within == sel.Sel.Name:
		u.asked[within] = true
	case named && x.Name == "gonvml":
		u.bare = append(u.bare, sel.Sel.Name)
	case named && packages[x.Name]:
	default:
		u.methods[sel.Sel.Name] = true
	}
}

// row reads a row of the table: {"Function", []string{"symbol", …}}.
func (u *uses) row(n *ast.CompositeLit) {
	if n.Type != nil || len(n.Elts) != 2 {
		return
	}
	name, ok := n.Elts[0].(*ast.BasicLit)
	list, ok2 := n.Elts[1].(*ast.CompositeLit)
	if !ok || !ok2 {
		return
	}
	key, _ := strconv.Unquote(name.Value)
	for _, e := range list.Elts {
		symbol, _ := strconv.Unquote(e.(*ast.BasicLit).Value)
		u.table[key] = append(u.table[key], symbol)
	}
}

// TestTable: the functions called are those of the table, each inside the ask
// that looks it up, and the table only reads.
func TestTable(t *testing.T) {
	u := read(t)
	table, asked := slices.Sorted(maps.Keys(u.table)), slices.Sorted(maps.Keys(u.asked))
	if len(table) < 20 || !slices.Equal(table, asked) {
		t.Errorf("the table has %v,\nwhat is called is %v", table, asked)
	}
	slices.Sort(u.bare)
	if want := []string{"Extensions", "Init", "Shutdown", "ValueType"}; !slices.Equal(slices.Compact(u.bare), want) {
		t.Errorf("called without asking the table: %v, want %v", u.bare, want)
	}
	// A method of a device would be a call around the table.
	known := []string{"Open", "Close", "Lookup", "LookupSymbol", "Lock", "Unlock", "RLock", "RUnlock", "Milliseconds", "Uint32", "Uint64", "Error", "Done", "Err", "Do"}
	for m := range u.methods {
		if !u.own[m] && !slices.Contains(known, m) {
			t.Errorf("method %s is called: is it go-nvml's?", m)
		}
	}
	for name, symbols := range u.table {
		if !readOnly(name) {
			t.Errorf("%s does not only read", name)
		}
		for _, s := range symbols {
			if base := strings.TrimSuffix(name, "_v2"); s != "nvml"+name && !regexp.MustCompile("^nvml"+base+`(_v\d)?$`).MatchString(s) {
				t.Errorf("%s has symbol %s", name, s)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(u.fields)); !slices.Equal(got, []string{"FI_DEV_PCIE_COUNT_RX_BYTES", "FI_DEV_PCIE_COUNT_TX_BYTES",
		"FI_DEV_POWER_AVERAGE", "FI_DEV_POWER_INSTANT", "FI_DEV_TOTAL_ENERGY_CONSUMPTION"}) {
		t.Errorf("fields that are read: %v", got)
	}
}

// readOnly allows what gets, and the sets of events, which are this process's.
func readOnly(name string) bool {
	if slices.Contains([]string{"DeviceRegisterEvents", "EventSetCreate", "EventSetWait", "EventSetFree"}, name) {
		return true
	}
	return regexp.MustCompile(`^(Device|System)Get[A-Z]`).MatchString(name)
}

// TestReadOnlyRule: the rule refuses what changes a card.
func TestReadOnlyRule(t *testing.T) {
	for _, name := range []string{"DeviceSetPersistenceMode", "DeviceResetGpuLockedClocks", "DeviceSetGpuLockedClocks", "DeviceClearEccErrorCounts",
		"DeviceRemoveGpu", "DeviceClearCpuAffinity", "GpuInstanceDestroy", "DeviceCreateGpuInstance", "DeviceFreezeNvLinkUtilizationCounter", "Device", "UnitSetLedState"} {
		if readOnly(name) {
			t.Errorf("%s passes", name)
		}
	}
}
