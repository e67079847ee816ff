package experiment

import (
	"fmt"
	"strconv"
	"strings"
)

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// assign sets the value at a path like hardware.gpus[0].memory or
// models.whisper.load.disk in the tree of an experiment. Keys that contain dots
// are found as they stand. Missing records of the tables on the way are made;
// list entries and names of the user must exist. at is where the path stands.
func (d *decoder) assign(root *node, path string, at place, value *node) bool {
	n, s, rest, done := root, d.tables.root, path, ""
	for {
		key, index, after, ok := nextStep(n, rest)
		if !ok {
			d.errorf(at, "%s is no path; expected one like hardware.gpus[0].memory", quote(path))
			return false
		}
		last := after == ""
		switch {
		case index >= 0:
			if n.kind != listNode {
				d.errorf(at, "%s is %s, not a list", orRoot(done), n.describe())
				return false
			}
			if index >= len(n.values) {
				d.errorf(at, "%s has %d entries; %s is not among them (they count from 0)", done, len(n.values), indexed(done, index))
				return false
			}
			done = indexed(done, index)
			if last {
				n.values[index] = value
				return true
			}
			n, s = n.values[index], s.element()
		default:
			next, ok := d.step(n, s, key, done, at)
			if !ok {
				return false
			}
			done = join(done, key)
			if last {
				n.put(key, at, value)
				return true
			}
			child := n.child(key)
			if child == nil || child.kind == nullNode {
				child = mapping(at)
				n.put(key, at, child)
			}
			n, s = child, next
		}
		rest = after
	}
}

// step checks that n may have the key and returns the shape of its value.
func (d *decoder) step(n *node, s *shape, key, done string, at place) (*shape, bool) {
	if n.kind != mappingNode {
		d.errorf(at, "%s is %s, not a mapping; it has no key %s", orRoot(done), n.describe(), quote(key))
		return nil, false
	}
	records := s.records()
	var names []string
	for _, r := range records {
		switch r.kind {
		case namesShape:
			if n.child(key) != nil {
				return r.of, true
			}
			d.errorf(at, "there is no %s in %s%s", quote(key), done, suggest(key, n.keys))
			return nil, false
		case recordShape, choiceShape:
			if k, ok := r.key(key); ok {
				return k.is, true
			}
			names = append(names, r.names()...)
		case valueShape:
			return r, true
		}
	}
	d.errorf(at, "unknown key %s in %s%s", quote(key), orRoot(done), suggest(key, names))
	return nil, false
}

// records returns the shapes that a mapping of this shape may have.
func (s *shape) records() []*shape {
	if s == nil {
		return []*shape{{kind: valueShape}}
	}
	if s.kind != anyShape {
		return []*shape{s}
	}
	var all []*shape
	for _, a := range s.any {
		all = append(all, a.records()...)
	}
	return all
}

// find returns a key that a mapping of this shape may have.
func (s *shape) find(name string) (*key, bool) {
	for _, r := range s.records() {
		if k, ok := r.key(name); ok {
			return k, true
		}
	}
	return nil, false
}

func (s *shape) allNames() []string {
	var names []string
	for _, r := range s.records() {
		names = append(names, r.names()...)
	}
	return names
}

// element returns the shape of a list's elements.
func (s *shape) element() *shape {
	if s != nil {
		for _, r := range s.records() {
			if r.kind == listShape {
				return r.of
			}
		}
	}
	return nil
}

// locate returns the place that a path below n speaks of, as far as it exists.
func (n *node) locate(path string) place {
	for at := n.at; ; {
		k, index, rest, ok := nextStep(n, path)
		i := index
		if ok && index < 0 {
			i = -1
			if n.kind == mappingNode {
				i = n.find(k)
			}
		}
		if !ok || i < 0 || i >= len(n.values) {
			return at
		}
		n, path = n.values[i], rest
		if at = n.at; rest == "" {
			return at
		}
	}
}

// nextStep takes the next key or index from a path. Of the keys that n has the
// longest that the path begins with wins.
func nextStep(n *node, path string) (key string, index int, rest string, ok bool) {
	if strings.HasPrefix(path, "[") {
		inside, after, closed := strings.Cut(path[1:], "]")
		i, err := strconv.Atoi(inside)
		if !closed || err != nil || i < 0 || !digits(inside) {
			return "", -1, "", false
		}
		rest, ok = afterStep(after)
		return "", i, rest, ok
	}
	if n.kind == mappingNode {
		for _, k := range n.keys {
			if len(k) > len(key) && strings.HasPrefix(path, k) {
				if _, ok := afterStep(path[len(k):]); ok {
					key = k
				}
			}
		}
	}
	if key == "" {
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		key = path[:end]
	}
	if key == "" {
		return "", -1, "", false
	}
	rest, ok = afterStep(path[len(key):])
	return key, -1, rest, ok
}

// afterStep returns what follows a step: nothing, an index, or a dot and more.
func afterStep(rest string) (string, bool) {
	switch {
	case rest == "" || rest[0] == '[':
		return rest, true
	case rest[0] == '.' && len(rest) > 1:
		return rest[1:], true
	}
	return "", false
}
