// Package experiment reads experiment files and sets up the runs they describe.
//
// Load turns a file into an Experiment: strictly, with every error at its file,
// line and column, the line itself and what would have been right. An
// Experiment has one Cell for each point of its sweep; Cell.Setup makes the
// catalogue, the policy, the source and the simulated world of one run.
//
//	e, err := experiment.Load("experiment.yaml", policies.Builtin(), experiment.Options{})
//	for _, cell := range e.Cells {
//		for p := range cell.Policies {
//			for r := range cell.Replicates {
//				setup, err := cell.Setup(p, r, version)
//				core, err := scheduler.New(setup.Config)
//				err = scheduler.Drive(ctx, core, setup.World, sinks...)
//				err = setup.Close()
//			}
//		}
//	}
//
// # Reading the source
//
// yaml.go makes a tree of nodes with places of a text, write.go the reverse.
// tables.go holds the shapes of all keys; decode.go reads nodes by them,
// rewrites each to one spelling and adds the defaults, so that the tree becomes
// the resolved experiment. A section has a file of its own: hardware.go,
// models.go, profile.go (the file itself: readprofile.go), workload.go, trace.go,
// policy.go, thresholds.go.
// experiment.go puts them together, options.go and sweep.go change the tree
// before it is read, resolved.go writes it; cell.go and setup.go make runs.
package experiment
