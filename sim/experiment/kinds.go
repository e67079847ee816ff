package experiment

// Kind is one of the words that the workload of an experiment chooses from.
type Kind struct {
	Section string // where it stands, like "workload.arrivals"
	Name    string
	About   string
}

// WorkloadKinds lists what a workload can be made of, in the order of the
// schema: where it comes from, arrivals, popularity of models.
func WorkloadKinds() []Kind {
	t := newTables()
	var list []Kind
	add := func(section string, keys []key) {
		for _, k := range keys {
			list = append(list, Kind{section, k.name, k.doc})
		}
	}
	for _, k := range t.workload.keys {
		switch k.name {
		case "trace", "pipelines", "streams":
			add("workload", []key{k})
		}
	}
	add("workload.arrivals", t.arrivals.keys)
	add("workload.streams.popularity", t.popularity.keys)
	return list
}
