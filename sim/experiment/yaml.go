package experiment

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

const (
	maxFile  = 64 << 20 // bytes of an experiment file
	maxDepth = 64       // of nesting
)

// parseYAML reads one YAML document: block and flow mappings and lists, plain,
// quoted and literal scalars, comments. Anchors, aliases, tags, merge keys and
// several documents are refused: an experiment says what it means where it
// stands. Duplicate keys are reported; the first stays. The result is nil if
// the text is empty or cannot be read.
func parseYAML(name string, data []byte, errs *Errors) *node {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	src := newSource(name, text)
	if !readable(src, text, errs) {
		return nil
	}
	p := &yamlParser{src: src, errs: errs}
	return p.document(text)
}

// readable refuses what is no text.
func readable(src *source, text string, errs *Errors) bool {
	start := place{src, 1, 1}
	switch {
	case len(text) > maxFile:
		src.lines = nil
		errs.add(start, fmt.Sprintf("the file has %d bytes; at most %d are read", len(text), maxFile))
	case strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff"):
		src.lines = nil
		errs.add(start, "the file is UTF-16; save it as UTF-8")
	case !utf8.ValidString(text):
		for i, l := range src.lines {
			if !utf8.ValidString(l) {
				errs.add(place{src, i + 1, 1}, "the line is not UTF-8")
				break
			}
		}
	default:
		for i, l := range src.lines {
			for col, r := range []rune(l) {
				if (r < ' ' && r != '\t') || r == 0x7f || r >= 0x80 && r < 0xa0 {
					errs.add(place{src, i + 1, col + 1}, fmt.Sprintf("control character %#U", r))
					return false
				}
			}
		}
		return true
	}
	return false
}

// yamlParser makes nodes of the tokens of goccy/go-yaml, whose own parser takes
// time that grows with the square of a mapping's length.
type yamlParser struct {
	src    *source
	errs   *Errors
	tokens []*token.Token
	next   int
	failed bool
}

func (p *yamlParser) document(text string) (root *node) {
	defer func() {
		if r := recover(); r != nil { // the tokenizer is not ours
			p.fail(place{p.src, 1, 1}, "this is no YAML that can be read")
			root = nil
		}
	}()
	for _, t := range lexer.Tokenize(text) {
		if t.Type != token.CommentType {
			p.tokens = append(p.tokens, t)
		}
	}
	if t := p.peek(); t != nil && t.Type == token.DocumentHeaderType {
		p.next++
	}
	if p.peek() == nil {
		return nil
	}
	root = p.block(0, 0)
	if t := p.peek(); t != nil && t.Type == token.DocumentEndType {
		p.next++
	}
	if t := p.peek(); t != nil && !p.failed {
		p.unexpected(t)
	}
	if p.failed {
		return nil
	}
	return root
}

func (p *yamlParser) peek() *token.Token {
	if p.next < len(p.tokens) {
		return p.tokens[p.next]
	}
	return nil
}

func (p *yamlParser) peekSecond() *token.Token {
	if p.next+1 < len(p.tokens) {
		return p.tokens[p.next+1]
	}
	return nil
}

func (p *yamlParser) at(t *token.Token) place {
	return place{p.src, t.Position.Line, t.Position.Column}
}

// fail reports the first syntax error; what follows from it is no news.
func (p *yamlParser) fail(at place, what string) *node {
	if !p.failed {
		p.errs.add(at, what)
	}
	p.failed = true
	p.next = len(p.tokens)
	return nil
}

func (p *yamlParser) unexpected(t *token.Token) *node {
	at := p.at(t)
	switch t.Type {
	case token.InvalidType:
		return p.fail(at, "YAML: "+t.Error)
	case token.AnchorType:
		return p.unused(at, "anchors")
	case token.AliasType:
		return p.unused(at, "aliases")
	case token.TagType:
		return p.unused(at, "tags")
	case token.MergeKeyType:
		return p.unused(at, "merge keys")
	case token.DirectiveType:
		return p.unused(at, "directives")
	case token.MappingKeyType:
		return p.unused(at, "explicit keys")
	case token.DocumentHeaderType, token.DocumentEndType:
		return p.fail(at, "a second YAML document; an experiment file has one")
	}
	return p.fail(at, fmt.Sprintf("YAML: %s is not expected here; check indentation, colons and brackets", quote(t.Value)))
}

// unused refuses a part of YAML that experiment files do without.
func (p *yamlParser) unused(at place, what string) *node {
	return p.fail(at, "YAML "+what+" are not used in experiment files: write the value itself")
}

func isScalar(t *token.Token) bool {
	switch t.Type {
	case token.StringType, token.IntegerType, token.FloatType, token.BoolType, token.NullType, token.ImplicitNullType,
		token.InfinityType, token.NanType, token.BinaryIntegerType, token.OctetIntegerType, token.HexIntegerType,
		token.SingleQuoteType, token.DoubleQuoteType:
		return true
	}
	return false
}

// block reads a value in block style: everything to the right of column min.
func (p *yamlParser) block(min, depth int) *node {
	t := p.peek()
	if depth > maxDepth {
		return p.fail(p.at(t), fmt.Sprintf("nested more than %d levels deep", maxDepth))
	}
	if t.Position.Column <= min {
		return p.unexpected(t)
	}
	switch second := p.peekSecond(); {
	case t.Type == token.SequenceEntryType:
		return p.blockList(depth)
	case isScalar(t) && second != nil && second.Type == token.MappingValueType:
		return p.blockMapping(depth)
	}
	return p.inline(depth)
}

func (p *yamlParser) blockList(depth int) *node {
	first := p.peek()
	n := list(p.at(first))
	for {
		t := p.peek()
		if t == nil || t.Type != token.SequenceEntryType || t.Position.Column != first.Position.Column {
			return n
		}
		p.next++
		n.values = append(n.values, p.after(t, t.Position.Column, false, depth))
	}
}

func (p *yamlParser) blockMapping(depth int) *node {
	first := p.peek()
	n := mapping(p.at(first))
	for {
		t, colon := p.peek(), p.peekSecond()
		if t == nil || t.Position.Column != first.Position.Column || !isScalar(t) || colon == nil || colon.Type != token.MappingValueType {
			return n
		}
		p.next += 2
		p.entry(n, t, p.after(t, t.Position.Column, true, depth))
	}
}

// after reads what belongs to a key or a dash: the rest of its line or a block
// further to the right. Lists may stand right below their key.
func (p *yamlParser) after(t *token.Token, col int, key bool, depth int) *node {
	v := p.peek()
	switch {
	case v == nil || v.Type == token.DocumentEndType || v.Type == token.DocumentHeaderType:
		return &node{at: p.at(t)}
	case v.Position.Line == t.Position.Line && key:
		return p.inline(depth + 1)
	case v.Position.Column > col:
		return p.block(col, depth+1)
	case key && v.Type == token.SequenceEntryType && v.Position.Column == col:
		return p.block(col-1, depth+1)
	}
	return &node{at: p.at(t)}
}

// inline reads a scalar or a value in flow style.
func (p *yamlParser) inline(depth int) *node {
	t := p.peek()
	if t == nil {
		return p.fail(place{p.src, len(p.src.lines), 1}, "YAML: the file ends inside a { or [")
	}
	if depth > maxDepth {
		return p.fail(p.at(t), fmt.Sprintf("nested more than %d levels deep", maxDepth))
	}
	switch {
	case t.Type == token.MappingStartType:
		return p.flowMapping(depth)
	case t.Type == token.SequenceStartType:
		return p.flowList(depth)
	case t.Type == token.LiteralType || t.Type == token.FoldedType:
		p.next++
		n := &node{kind: scalarNode, at: p.at(t), quoted: true}
		if s := p.peek(); s != nil && s.Type == token.StringType {
			n.text = s.Value
			p.next++
		}
		return n
	case isScalar(t):
		if second := p.peekSecond(); second != nil && second.Type == token.MappingValueType && second.Position.Line == t.Position.Line {
			return p.unexpected(second)
		}
		p.next++
		return p.scalar(t)
	}
	return p.unexpected(t)
}

func (p *yamlParser) scalar(t *token.Token) *node {
	switch t.Type {
	case token.NullType, token.ImplicitNullType:
		return &node{at: p.at(t)}
	case token.SingleQuoteType, token.DoubleQuoteType:
		return &node{kind: scalarNode, at: p.at(t), text: t.Value, quoted: true}
	}
	return scalar(p.at(t), t.Value)
}

func (p *yamlParser) entry(n *node, key *token.Token, v *node) {
	if p.failed {
		return
	}
	if i := n.find(key.Value); i >= 0 {
		p.errs.add(p.at(key), fmt.Sprintf("key %s stands twice; the first is at line %d", quote(key.Value), n.keyAt[i].line))
		return
	}
	if key.Type == token.NullType && key.Value == "" {
		p.fail(p.at(key), "a key is missing before the colon")
		return
	}
	n.add(key.Value, p.at(key), v)
}

func (p *yamlParser) flowMapping(depth int) *node {
	n := mapping(p.at(p.peek()))
	p.next++
	for !p.failed {
		t := p.peek()
		switch colon := p.peekSecond(); {
		case t == nil:
			p.fail(n.at, "this { is not closed")
		case t.Type == token.MappingEndType:
			p.next++
			return n
		case isScalar(t) && colon != nil && colon.Type == token.MappingValueType:
			p.next += 2
			p.entry(n, t, p.flowValue(t, depth))
			p.separator(token.MappingEndType, n.at, "{")
		default:
			p.unexpected(t)
		}
	}
	return nil
}

// flowValue reads the value of a key, which may be missing before a comma.
func (p *yamlParser) flowValue(key *token.Token, depth int) *node {
	if t := p.peek(); t != nil && (t.Type == token.CollectEntryType || t.Type == token.MappingEndType) {
		return &node{at: p.at(key)}
	}
	return p.inline(depth + 1)
}

func (p *yamlParser) flowList(depth int) *node {
	n := list(p.at(p.peek()))
	p.next++
	for !p.failed {
		t := p.peek()
		switch {
		case t == nil:
			p.fail(n.at, "this [ is not closed")
		case t.Type == token.SequenceEndType:
			p.next++
			return n
		default:
			n.values = append(n.values, p.inline(depth+1))
			p.separator(token.SequenceEndType, n.at, "[")
		}
	}
	return nil
}

// separator consumes the comma between entries; the closing bracket stays.
func (p *yamlParser) separator(end token.Type, open place, bracket string) {
	t := p.peek()
	switch {
	case p.failed:
	case t == nil:
		p.fail(open, "this "+bracket+" is not closed")
	case t.Type == token.CollectEntryType:
		p.next++
	case t.Type != end:
		p.unexpected(t)
	}
}
