package experiment

// A shape says what a node may be. Reading, defaults, messages, the resolved
// file and the JSON Schema all come from the same tables of shapes.
type shape struct {
	kind shapeKind
	want string   // what is expected, in words
	keys []key    // of a record or a choice
	of   *shape   // the elements of a list or the values of names
	any  []*shape // of an alternative
	enum []string // of a word
}

type shapeKind uint8

const (
	textShape shapeKind = iota // any text, names among them
	wordShape                  // one of enum
	integerShape
	numberShape
	timeShape
	bytesShape
	rateShape
	valueShape  // anything: decided elsewhere
	recordShape // a mapping with the keys of the table
	choiceShape // a mapping with exactly one of the keys, or the bare name of one that needs nothing
	namesShape  // a mapping from names of the user to of
	listShape
	anyShape // one of any
)

// key is one entry of a record or choice.
type key struct {
	name string
	is   *shape
	doc  string
	def  string // the default, as YAML; "" for none
	must bool
}

func (s *shape) key(name string) (*key, bool) {
	for i := range s.keys {
		if s.keys[i].name == name {
			return &s.keys[i], true
		}
	}
	return nil, false
}

func (s *shape) names() []string {
	names := make([]string, len(s.keys))
	for i := range s.keys {
		names[i] = s.keys[i].name
	}
	return names
}

func record(want string, keys ...key) *shape {
	return &shape{kind: recordShape, want: want, keys: keys}
}
func choice(want string, keys ...key) *shape {
	return &shape{kind: choiceShape, want: want, keys: keys}
}
func listOf(s *shape, want string) *shape  { return &shape{kind: listShape, of: s, want: want} }
func namesOf(s *shape, want string) *shape { return &shape{kind: namesShape, of: s, want: want} }
func either(want string, any ...*shape) *shape {
	return &shape{kind: anyShape, any: any, want: want}
}
func word(enum ...string) *shape { return &shape{kind: wordShape, enum: enum} }
