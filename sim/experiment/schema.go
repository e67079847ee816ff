package experiment

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Schema returns the JSON Schema of the experiment file, draft 2020-12, for
// completion and first checks in editors. It is made of the same tables that
// the file is read with.
func Schema() []byte {
	s := schemas{defs: map[string]any{}, names: map[*shape]string{}}
	root := s.of(newTables().root)
	doc := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://github.com/vramsim/vramsim/schema/experiment-" + strconv.Itoa(Version) + ".json",
		"title":   "vramsim experiment",
		"$ref":    root["$ref"],
		"$defs":   s.defs,
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("bug: " + err.Error())
	}
	return append(text, '\n')
}

// schemas collects the definitions of records and choices, which may refer to
// each other.
type schemas struct {
	defs  map[string]any
	names map[*shape]string
}

type object = map[string]any

func (s *schemas) of(sh *shape) object {
	switch sh.kind {
	case recordShape, choiceShape:
		return s.ref(sh)
	case listShape:
		return object{"type": "array", "items": s.of(sh.of)}
	case namesShape:
		return object{"type": "object", "additionalProperties": s.of(sh.of)}
	case anyShape:
		var all []any
		for _, one := range sh.any {
			all = append(all, s.of(one))
		}
		return object{"anyOf": all}
	}
	return s.scalar(sh)
}

func (s *schemas) scalar(sh *shape) object {
	const amount = `^[0-9]+(\.[0-9]+)? ?`
	switch sh.kind {
	case wordShape:
		return object{"enum": sh.enum}
	case integerShape:
		return object{"type": "integer"}
	case numberShape:
		return object{"type": "number"}
	case timeShape:
		return object{"type": "string", "pattern": amount + "(ns|us|µs|ms|s|m|h|d)$", "examples": []string{"1.5s"}}
	case bytesShape:
		return object{"type": "string", "pattern": amount + "(B|KB|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$", "examples": []string{"4.5GB"}}
	case rateShape:
		return object{"type": "string", "pattern": amount + "/(s|m|h)$", "examples": []string{"40/h"}}
	case valueShape:
		return object{}
	}
	return object{"type": []string{"string", "number", "boolean"}}
}

// ref returns a reference to the definition of a record or choice.
func (s *schemas) ref(sh *shape) object {
	name, known := s.names[sh]
	if !known {
		name = fmt.Sprintf("shape%03d", len(s.names))
		s.names[sh] = name
		s.defs[name] = s.define(sh)
	}
	return object{"$ref": "#/$defs/" + name}
}

func (s *schemas) define(sh *shape) object {
	properties, required := object{}, []string{}
	for i := range sh.keys {
		k := &sh.keys[i]
		p := s.of(k.is)
		if k.doc != "" {
			p["description"] = k.doc
		}
		if k.def != "" {
			p["default"] = s.fallback(k)
		}
		properties[k.name] = p
		if k.must {
			required = append(required, k.name)
		}
	}
	def := object{"type": "object", "description": sh.want, "properties": properties, "additionalProperties": false}
	if sh.kind == recordShape {
		if len(required) > 0 {
			def["required"] = required
		}
		return def
	}
	def["minProperties"], def["maxProperties"] = 1, 1
	return object{"anyOf": []any{def, object{"enum": sh.names()}}}
}

// fallback is a default as JSON.
func (s *schemas) fallback(k *key) any {
	var d decoder
	return plainValue(d.fallback(k.def, place{}))
}

// plainValue is a node as encoding/json takes it.
func plainValue(n *node) any {
	switch n.kind {
	case mappingNode:
		out := object{}
		for i, k := range n.keys {
			out[k] = plainValue(n.values[i])
		}
		return out
	case listNode:
		out := []any{}
		for _, v := range n.values {
			out = append(out, plainValue(v))
		}
		return out
	}
	if number(n.text) && !n.quoted {
		return json.Number(n.text)
	}
	return n.text
}
