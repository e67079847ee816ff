package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Mode says which models share a process.
type Mode string

// The modes.
const (
	// Shared is one process for all models, as a server of several models is.
	Shared Mode = "shared"
	// Isolated is a process for each resident model: a load starts it and an
	// eviction ends it, so that its context is paid for each time.
	Isolated Mode = "isolated"
)

// HostTier says what loads from the host tier read.
type HostTier string

// The host tiers.
const (
	// PageCache reads the file of weights through the page cache.
	PageCache HostTier = FromPageCache
	// Pinned copies from host memory that the worker has pinned: it stages
	// what fits when it is opened, later what enters the tier by an eviction.
	Pinned HostTier = FromPinned
)

// Config describes an Executor. Only Command has to be given.
type Config struct {
	// Command is the worker's program and arguments. SplitCommand makes it of
	// one text.
	Command []string
	// Mode is Shared if empty.
	Mode Mode
	// HostTier is PageCache if empty. Pinned needs a worker that can stage, and
	// Shared: pinned memory ends with its process.
	HostTier HostTier
	// Dir is where the worker keeps prepared weights; it is made if it is not
	// there. Empty: a temporary folder that Close removes.
	Dir string
	// Seed is that of the weights, not negative. It is not the plan's, so that
	// experiments with other seeds use the same folder of them.
	Seed int64
	// Device is the UUID of the GPU that the worker sees and has to name; empty:
	// whatever it finds.
	Device string
	// Environ is the environment to pass on, like os.Environ's: of it the
	// worker gets the variables that PassedOn and Pass name, nothing else.
	Environ []string
	Pass    []string
	// SkipWarmup loads without a first batch, which then pays for it.
	SkipWarmup bool
	// Stderr names a file that gets what the worker says on standard error, at
	// most StderrLimit bytes of it (0: 16 MiB). It is appended to. Empty: only
	// the last lines are kept, for the messages of errors.
	Stderr      string
	StderrLimit scheduler.Bytes
	Timeouts    Timeouts
	// Observed, if not nil, returns the bytes that the driver says are in use on
	// the device. It is asked after each reply that tells of memory, and counts
	// where the worker tells of less: nothing else that it says of memory is
	// then believed.
	Observed func() (scheduler.Bytes, error)
	// Notice, if not nil, is told what no outcome can tell. It is called from
	// several goroutines and must not call the executor.
	Notice func(Notice)
}

// Timeouts are how long a worker may take; 0 is the default.
type Timeouts struct {
	Hello     time.Duration // 120 s
	Prepare   time.Duration // 120 s
	Stage     time.Duration // 120 s
	Load      time.Duration // 60 s, or TimeoutFactor times the estimate if that is more
	Run       time.Duration // 30 s, or TimeoutFactor times the estimate
	Unload    time.Duration // 30 s
	Other     time.Duration // 5 s
	Heartbeat time.Duration // 10 s without one
	Kill      time.Duration // 2 s between TERM and KILL
}

// TimeoutFactor is how many times its estimate a load or batch may take.
const TimeoutFactor = 10

// DefaultTimeouts are those of GPU.md.
func DefaultTimeouts() Timeouts {
	return Timeouts{Hello: 120 * time.Second, Prepare: 120 * time.Second, Stage: 120 * time.Second, Load: 60 * time.Second,
		Run: 30 * time.Second, Unload: 30 * time.Second, Other: 5 * time.Second, Heartbeat: 10 * time.Second, Kill: 2 * time.Second}
}

// Scaled returns all of t times factor.
func (t Timeouts) Scaled(factor float64) Timeouts {
	for _, d := range t.all() {
		*d = time.Duration(float64(*d) * factor)
	}
	return t
}

func (t *Timeouts) all() []*time.Duration {
	return []*time.Duration{&t.Hello, &t.Prepare, &t.Stage, &t.Load, &t.Run, &t.Unload, &t.Other, &t.Heartbeat, &t.Kill}
}

// DefaultStderrLimit is how much of standard error a file gets.
const DefaultStderrLimit = 16 << 20

// PassedOn returns the names of the environment variables that a worker gets
// in any case: what programs, libraries and drivers are found by, and nothing
// that holds secrets. A name that ends in * stands for all that begin so.
func PassedOn() []string {
	return []string{"PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "SYSTEMDRIVE", "USERPROFILE",
		"PATHEXT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX", "OMP_NUM_THREADS",
		"CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_MODULE_LOADING", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES",
		"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}
}

// DirVariable is the environment variable that tells a worker Config.Dir.
const DirVariable = "VRAMSIM_WORKER_DIR"

// environment returns what the worker gets. Models are never downloaded, so
// the libraries are told to be offline.
func (c *Config) environment(dir string) []string {
	var env []string
	allowed := append(PassedOn(), c.Pass...)
	for _, v := range c.Environ {
		name, _, _ := strings.Cut(v, "=")
		if slices.ContainsFunc(allowed, func(a string) bool {
			prefix, any := strings.CutSuffix(a, "*")
			return a == name || any && strings.HasPrefix(name, prefix)
		}) {
			env = append(env, v)
		}
	}
	env = append(env, DirVariable+"="+dir, "HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "HF_HUB_DISABLE_TELEMETRY=1",
		"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID")
	if c.Device != "" {
		env = append(env, "CUDA_VISIBLE_DEVICES="+c.Device)
	}
	return env
}

// folderPrefix begins the names of temporary folders of weights.
const folderPrefix = "vramsim-worker-"

// ErrConfig is wrapped by errors about a Config.
var ErrConfig = errors.New("worker")

// withDefaults returns c with what is left out filled in, or what is wrong.
func (c Config) withDefaults() (Config, error) {
	if len(c.Command) == 0 || c.Command[0] == "" {
		return c, fmt.Errorf("%w: there is no command", ErrConfig)
	}
	if c.Mode == "" {
		c.Mode = Shared
	}
	if c.HostTier == "" {
		c.HostTier = PageCache
	}
	if c.Mode != Shared && c.Mode != Isolated {
		return c, fmt.Errorf("%w: mode %q is neither %s nor %s", ErrConfig, c.Mode, Shared, Isolated)
	}
	if c.HostTier != PageCache && c.HostTier != Pinned {
		return c, fmt.Errorf("%w: host tier %q is neither %s nor %s", ErrConfig, c.HostTier, PageCache, Pinned)
	}
	if c.Mode == Isolated && c.HostTier == Pinned {
		return c, fmt.Errorf("%w: pinned memory ends with its process: host tier %s needs mode %s", ErrConfig, Pinned, Shared)
	}
	if c.Seed < 0 {
		return c, fmt.Errorf("%w: a negative seed", ErrConfig)
	}
	if c.StderrLimit < 0 {
		return c, fmt.Errorf("%w: a negative limit of standard error", ErrConfig)
	}
	if c.StderrLimit == 0 {
		c.StderrLimit = DefaultStderrLimit
	}
	usual := DefaultTimeouts()
	for i, d := range c.Timeouts.all() {
		if *d < 0 {
			return c, fmt.Errorf("%w: a negative timeout", ErrConfig)
		}
		if *d == 0 {
			*d = *usual.all()[i]
		}
	}
	return c, nil
}

// SplitCommand cuts a command into its words as a shell does: at white space
// that is not within quotes. A backslash takes the next character as it is,
// but in single quotes; elsewhere than there a Windows path needs quotes.
func SplitCommand(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	in, escaped := false, false
	for _, r := range text {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			in, escaped = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			in, quote = true, r
		case quote == 0 && strings.ContainsRune(" \t\r\n", r):
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		default:
			in = true
			word.WriteRune(r)
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("%w: the command %q ends within quotes", ErrConfig, shorten(text, 80))
	}
	if in {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%w: there is no command", ErrConfig)
	}
	return words, nil
}

// NoticeKind is what a Notice is about.
type NoticeKind string

// The notices.
const (
	Started      NoticeKind = "started"       // a worker's process is there; what it will take of the device is ours
	Spawned      NoticeKind = "spawned"       // a worker said hello after Took; PID is what it says, which a wrapper may have started
	Respawned    NoticeKind = "respawned"     // Restart is over after Took; Seen are the bytes then free
	WentLost     NoticeKind = "lost"          // a worker was ended; Text says why
	Gone         NoticeKind = "gone"          // a process that was started or said hello is no more; the system may give its PID to another. It may come after Close
	WorkerTime   NoticeKind = "worker-time"   // it told a duration that cannot be: Reported ns, Seen by our clock
	VRAMMismatch NoticeKind = "vram-mismatch" // it told fewer bytes in use than the driver: Reported, Seen
	StagedLate   NoticeKind = "staged-late"   // a load from the host tier had to stage the model first
)

// Notice is something that happened beside the outcomes.
type Notice struct {
	Kind           NoticeKind
	Seq            uint64 // of the command, 0 if there is none
	Model          string
	PID            int
	Took           time.Duration
	Reported, Seen int64
	Text           string
}

func (c *Config) notice(n Notice) {
	if c.Notice != nil {
		c.Notice(n)
	}
}
