// Package rundir is the directory that a run leaves behind:
//
//	runs/<name>/<UTC>-<hash8>/     runs/<name>/latest → the newest
//	  manifest.json  experiment.yaml  resolved.yaml  summary.json  results.csv  bench.txt
//	  cells/<id>/<policy>/<replicate>/events.log result.json
//	  charts/  report.html  report.md
//
// Every file is written beside its place and renamed, so that a reader never
// sees half of one; an existing directory is never reused.
package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Schema names the form of manifest.json.
const Schema = "vramsim/manifest/1"

// Status says what a run is worth.
type Status string

// The statuses of a run.
const (
	Valid      Status = "VALID"
	Invalid    Status = "INVALID"
	Incomplete Status = "INCOMPLETE"
)

// Manifest is manifest.json: what was run, from what, and how it ended.
type Manifest struct {
	Schema       string            `json:"schema"`
	RunID        string            `json:"run_id"`
	Name         string            `json:"name"`
	Status       Status            `json:"status"`
	Reasons      []string          `json:"reasons"`
	NotForCiting bool              `json:"not_for_citing,omitempty"` // a --quick run
	Version      string            `json:"version"`
	GoVersion    string            `json:"go_version"`
	Platform     string            `json:"platform"`
	Argv         []string          `json:"argv"`
	Seed         uint64            `json:"seed"`
	Replicates   int               `json:"replicates"`
	StartedAt    string            `json:"started_at"`  // UTC, RFC 3339
	FinishedAt   string            `json:"finished_at"` // empty while running
	Inputs       map[string]string `json:"inputs"`      // file → SHA-256
	Logs         map[string]Log    `json:"logs"`        // path below the run directory → what it must hold
	Warnings     []string          `json:"warnings,omitempty"`
	Hardware     *Hardware         `json:"hardware,omitempty"` // of a run on real devices
}

// Hardware is what the manifest knows of the machine that a run was made on.
type Hardware struct {
	Executor string            `json:"executor"`           // what carried out the commands
	Label    string            `json:"label,omitempty"`    // why figures are none of hardware; empty if they are
	Settings map[string]string `json:"settings,omitempty"` // of executor and world
	Devices  []HardwareDevice  `json:"devices"`
	// Telemetry has the digest of each side stream by its path.
	Telemetry map[string]string `json:"telemetry,omitempty"`
}

// HardwareDevice is a device of the machine. Without telemetry only the name
// in the experiment is known.
type HardwareDevice struct {
	Name    string `json:"name"` // in the experiment
	GPU     string `json:"gpu,omitempty"`
	UUID    string `json:"uuid,omitempty"`
	Memory  int64  `json:"memory_bytes,omitempty"`
	Compute string `json:"compute_capability,omitempty"`
	Driver  string `json:"driver,omitempty"`
	CUDA    string `json:"cuda,omitempty"`
}

// Log is what the manifest knows of one event log.
type Log struct {
	Events int64  `json:"events"`
	Digest string `json:"digest"`
}

// Dir is a run directory.
type Dir struct{ Path string }

// Create makes a new run directory below out, named after the time and hash,
// and points latest to it.
func Create(out, name, hash8 string, at time.Time) (*Dir, error) {
	parent := filepath.Join(out, FileName(name))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return nil, err
	}
	base := at.UTC().Format("20060102T150405Z") + "-" + hash8
	for i := 1; ; i++ {
		dir := base
		if i > 1 {
			dir += "-" + strconv.Itoa(i)
		}
		path := filepath.Join(parent, dir)
		err := os.Mkdir(path, 0o777)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		pointLatest(parent, dir)
		return &Dir{Path: path}, nil
	}
}

// pointLatest makes latest a symbolic link to dir, where links can be made.
func pointLatest(parent, dir string) {
	latest := filepath.Join(parent, "latest")
	if info, err := os.Lstat(latest); err == nil && info.Mode()&fs.ModeSymlink == 0 {
		return // not ours
	}
	temporary := filepath.Join(parent, ".latest-"+dir)
	if os.Symlink(dir, temporary) == nil && os.Rename(temporary, latest) != nil {
		os.Remove(temporary)
	}
}

// Open finds the run directory that path names: the directory itself or a file
// in it.
func Open(path string) (*Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		path = filepath.Dir(path)
	}
	if _, err := os.Stat(filepath.Join(path, "manifest.json")); err != nil {
		return nil, fmt.Errorf("%s is no run directory: it has no manifest.json", path)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return &Dir{Path: resolved}, nil
}

// Join returns the path of a file in the directory.
func (d *Dir) Join(elem ...string) string {
	return filepath.Join(append([]string{d.Path}, elem...)...)
}

// Replicate returns the folder of one replicate, below the run directory.
func Replicate(cell, policy string, replicate int) string {
	return filepath.Join("cells", cell, FileName(policy), strconv.Itoa(replicate))
}

// Write puts a file in place as a whole, making its folder.
func (d *Dir) Write(name string, data []byte) error {
	path := d.Join(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return WriteFile(path, data)
}

// WriteFile puts a file in place as a whole; see Replace.
func WriteFile(path string, data []byte) error {
	return Replace(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Replace writes beside path and renames, so that the file is there as a whole
// or as it was before. What is there and no regular file, like a pipe or
// /dev/null, is written to.
func Replace(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) { // without the name of the temporary file
			err = &fs.PathError{Op: "write", Path: path, Err: cause.Err}
		}
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// WriteJSON writes v, indented.
func (d *Dir) WriteJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return d.Write(name, append(data, '\n'))
}

// ReadJSON reads a file of the directory into v.
func (d *Dir) ReadJSON(name string, v any) error {
	data, err := os.ReadFile(d.Join(name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", d.Join(name), err)
	}
	return nil
}

// Manifest reads manifest.json.
func (d *Dir) Manifest() (*Manifest, error) {
	m := &Manifest{}
	if err := d.ReadJSON("manifest.json", m); err != nil {
		return nil, err
	}
	if m.Schema != Schema {
		return nil, fmt.Errorf("%s: schema %q; this build reads %q", d.Join("manifest.json"), m.Schema, Schema)
	}
	return m, nil
}

// FileName turns a name into one that every file system takes: letters,
// digits and . _ - = + stay, the rest becomes %XX.
func FileName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_-=+", c) >= 0, c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	if b.Len() > 100 {
		return b.String()[:100]
	}
	return b.String()
}
