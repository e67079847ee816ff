package experiment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// Resolved returns resolved.yaml: the experiment with every default, change
// and file of models spelled out. Loading it gives the same cells, ids and
// runs; equal experiments have equal bytes.
func (e *Experiment) Resolved() []byte {
	out := mapping(e.tree.at)
	put := func(name string, v *node) {
		if v != nil && v.kind != nullNode {
			out.add(name, e.tree.at, v)
		}
	}
	for _, name := range []string{"version", "name", "question", "seed", "replicates"} {
		put(name, e.tree.child(name))
	}
	first := e.Cells[0]
	for _, name := range sweepable()[1:] {
		put(name, first.tree.child(name))
		if name == "policies" {
			put("baseline", e.tree.child("baseline"))
		}
	}
	if len(e.Cells) > 1 || len(first.Set) > 0 {
		put("sweep", e.resolvedSweep())
	}
	put("thresholds", e.tree.child("thresholds"))
	put("output", e.tree.child("output"))
	put("inputs", e.inputNode())
	return append([]byte("# An experiment of vramsim with every default spelled out.\n"), render(out)...)
}

func (e *Experiment) inputNode() *node {
	if len(e.Inputs) == 0 {
		return nil
	}
	n := mapping(e.tree.at)
	paths := make([]string, 0, len(e.Inputs))
	for p := range e.Inputs {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		n.add(p, n.at, scalar(n.at, e.Inputs[p]))
	}
	return n
}

// resolvedSweep lists the cells: what each sets, and the sections in which it
// differs from the first.
func (e *Experiment) resolvedSweep() *node {
	at := e.tree.at
	cells := list(at)
	first := e.Cells[0]
	for _, c := range e.Cells {
		n, set := mapping(at), mapping(at)
		for _, s := range c.Set {
			set.add(s.Path, at, &node{kind: scalarNode, at: at, text: s.Value, quoted: true})
		}
		n.add("set", at, set)
		for _, name := range sweepable() {
			if v := c.tree.child(name); v != nil && !bytes.Equal(render(v), render(orEmpty(first.tree.child(name), at))) {
				n.add(name, at, v)
			}
		}
		cells.values = append(cells.values, n)
	}
	sweep := mapping(at)
	sweep.add("cells", at, cells)
	return sweep
}

func orEmpty(n *node, at place) *node {
	if n == nil {
		return &node{at: at}
	}
	return n
}

// namespace is the one in which run ids are made: UUIDv5 of the repository's name.
func namespace() uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/vramsim/vramsim"))
}

// RunID identifies a run of the whole experiment: UUIDv5 over the resolved
// experiment, the content of its files and the version of the program.
func (e *Experiment) RunID(version string) uuid.UUID {
	var all bytes.Buffer
	fmt.Fprintf(&all, "experiment\n%s\n%s\n%d\n%d\n", version, e.Name, e.Seed, e.Replicates)
	for _, c := range e.Cells {
		all.Write(c.what)
		all.Write(c.identity("seed", "policies"))
	}
	return uuid.NewSHA1(namespace(), all.Bytes())
}

// identity is the canonical text of some sections of a cell, with files
// replaced by their content's hash.
func (c *Cell) identity(sections ...string) []byte {
	n := mapping(c.tree.at)
	for _, name := range sections {
		if v := c.tree.child(name); v != nil {
			n.add(name, v.at, byContent(v))
		}
	}
	return render(n)
}

// byContent returns a tree in which files stand for what they hold; that is n
// itself if there are none.
func byContent(n *node) *node {
	if !n.holdsFiles() {
		return n
	}
	c := n.clone()
	var walk func(*node)
	walk = func(n *node) {
		if n.content != "" {
			n.text = n.content
		}
		for _, v := range n.values {
			walk(v)
		}
	}
	walk(c)
	return c
}

func (n *node) holdsFiles() bool {
	if n.content != "" {
		return true
	}
	return slices.ContainsFunc(n.values, (*node).holdsFiles)
}

// digest returns the first 8 hexadecimal digits of the SHA-256 of a text.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:4])
}
