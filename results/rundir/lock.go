package rundir

import "errors"

// ErrLocked is wrapped when another process writes the run.
var ErrLocked = errors.New("is being written by another process")
