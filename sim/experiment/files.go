package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vramsim/vramsim/workloads"
)

// files reads what an experiment refers to, once, and remembers what it was.
type files struct {
	dir    string   // what relative paths are relative to
	search []string // where else they are looked for
	found  map[string]*input
	want   map[string]string // SHA-256 by absolute path, from a resolved experiment
	now    map[string]string // where files of want are that have moved
	traces map[string]*workloads.Trace
	// warnings are those of the importers of traces.
	warnings map[*workloads.Trace][]string
}

// input is a file that was read.
type input struct {
	path   string // absolute
	sha256 string
	data   []byte // nil if only hashed
}

// resolve returns the absolute path of a file: beside the experiment or in one
// of the folders that are searched. So does a file that a resolved experiment
// knows by its content, and that is not where it was.
func (f *files) resolve(name string) (string, error) {
	if filepath.IsAbs(name) {
		path := filepath.Clean(name)
		_, err := os.Stat(path)
		if moved, ok := f.moved(path); ok && err != nil {
			return moved, nil
		}
		return path, err
	}
	dirs := append([]string{f.dir}, f.search...)
	for _, dir := range dirs {
		path, err := filepath.Abs(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	if len(dirs) == 1 {
		return "", fmt.Errorf("there is no file %s in %s", name, orHere(f.dir))
	}
	return "", fmt.Errorf("there is no file %s; looked in %s", name, strings.Join(dirs, ", "))
}

// moved looks for a file under its own name in other folders. Its content is
// compared when it is read.
func (f *files) moved(path string) (string, bool) {
	if there, ok := f.now[path]; ok {
		return there, true
	}
	sum, known := f.want[path]
	if !known {
		return "", false
	}
	for _, dir := range append([]string{f.dir}, f.search...) {
		there, err := filepath.Abs(filepath.Join(dir, filepath.Base(path)))
		if err != nil {
			continue
		}
		if _, err := os.Stat(there); err == nil {
			if f.now == nil {
				f.now = map[string]string{}
			}
			f.now[path], f.want[there] = there, sum
			delete(f.want, path)
			return there, true
		}
	}
	return "", false
}

func orHere(dir string) string {
	if dir == "" || dir == "." {
		return "this folder"
	}
	return dir
}

// path resolves the file that n names and rewrites n to its absolute path.
func (d *decoder) path(n *node, path string) (string, bool) {
	if n.kind != scalarNode || n.text == "" {
		d.wrong(n, path, "the path of a file")
		return "", false
	}
	resolved, err := d.files.resolve(n.text)
	if err != nil {
		d.errorf(n.at, "%s: %v", path, err)
		return "", false
	}
	return resolved, true
}

// file reads the small file that n names.
func (d *decoder) file(n *node, path string) ([]byte, bool) {
	resolved, ok := d.path(n, path)
	if !ok {
		return nil, false
	}
	in := d.files.found[resolved]
	if in == nil || in.data == nil {
		data, err := readFile(resolved)
		if err != nil {
			d.errorf(n.at, "%s: %v", path, err)
			return nil, false
		}
		sum := sha256.Sum256(data)
		in = &input{path: resolved, sha256: hex.EncodeToString(sum[:]), data: data}
		d.files.found[resolved] = in
	}
	return in.data, d.took(n, path, in)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	case info.Size() > maxFile:
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// took notes that n refers to a file: it is written with its absolute path and
// counts by its content.
func (d *decoder) took(n *node, path string, in *input) bool {
	if want, ok := d.files.want[in.path]; ok && want != in.sha256 {
		d.errorf(n.at, "%s: %s has SHA-256 %s, but the experiment was resolved with %s", path, in.path, in.sha256, want)
		return false
	}
	n.text, n.quoted, n.content = in.path, false, "sha256:"+in.sha256
	return true
}

// inputs returns all files by path.
func (f *files) inputs() []*input {
	var list []*input
	for _, in := range f.found {
		list = append(list, in)
	}
	slices.SortFunc(list, func(a, b *input) int { return strings.Compare(a.path, b.path) })
	return list
}
