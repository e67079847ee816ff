package experiment

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed templates
var templates embed.FS

// DefaultTemplate is the experiment that is run where no file is given.
const DefaultTemplate = "video-pipeline"

// Template is an experiment that comes with vramsim.
type Template struct {
	Name  string // like "video-pipeline"
	About string // its question
	// Files are its files by name: the experiment, Name + ".yaml", first, then
	// what it reads besides recorded traces.
	Files []TemplateFile
}

// TemplateFile is a file of a template.
type TemplateFile struct {
	Name string
	Data []byte
}

// Templates returns the experiments that come with vramsim: the default first,
// the others by name.
func Templates() []Template {
	entries, err := fs.ReadDir(templates, "templates")
	if err != nil {
		panic("bug: " + err.Error())
	}
	var list []Template
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".yaml"); ok {
			list = append(list, template(name))
		}
	}
	slices.SortStableFunc(list, func(a, b Template) int {
		switch {
		case a.Name == DefaultTemplate:
			return -1
		case b.Name == DefaultTemplate:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// template reads an experiment and the files that it names with from:.
func template(name string) Template {
	t := Template{Name: name, Files: []TemplateFile{templateFile(name + ".yaml")}}
	var errs Errors
	root := parseYAML(name, t.Files[0].Data, &errs)
	if q := root.child("question"); q != nil {
		t.About = q.text
	}
	if from := root.child("models").child("from"); from != nil {
		t.Files = append(t.Files, templateFile(from.text))
	}
	return t
}

func templateFile(name string) TemplateFile {
	data, err := templates.ReadFile(path.Join("templates", name))
	if err != nil {
		panic("bug: " + err.Error())
	}
	return TemplateFile{Name: name, Data: data}
}

// TemplateNamed returns a template by its name.
func TemplateNamed(name string) (Template, bool) {
	for _, t := range Templates() {
		if t.Name == name {
			return t, true
		}
	}
	return Template{}, false
}
