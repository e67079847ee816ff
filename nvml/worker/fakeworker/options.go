package fakeworker

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vramsim/vramsim/scheduler"
)

// Argument is the first argument that makes a test binary be this worker; its
// TestMain has to ask for it:
//
//	if len(os.Args) > 1 && os.Args[1] == fakeworker.Argument {
//		os.Exit(fakeworker.Main(os.Args[2:], os.Stdin, os.Stdout, os.Environ()))
//	}
const Argument = "fake-worker"

// options are the arguments of Main, each like name=value.
type options struct {
	device     string // address of a Device; empty: one of its own
	memory     int64  // bytes of that
	fault      Fault  // on that
	at         int
	load       time.Duration // how long commands take
	item       time.Duration
	unload     time.Duration
	heartbeat  time.Duration
	hello      time.Duration // until hello
	concurrent int64
	models     []string // that it has; none: any
	uuid       string
	proto      int64
	offspring  bool  // starts a process that ignores polite signals
	ballast    int64 // bytes that this process fills, so that it is some time in dying
	deaf       bool  // goes on when its input ends, and ignores polite signals
	environ    bool  // tells the names of its environment among the versions
	noStage    bool
	print      int64 // bytes on standard error before hello
}

// OptionsText says what Main takes.
const OptionsText = `device=ADDRESS memory=12GB fault=NAME at=N load=1ms item=1ms unload=1ms heartbeat=1s hello=0s
concurrent=1 models=a,b uuid=GPU-fake proto=1 offspring=false ballast=0B deaf=false environ=false nostage=false print=0B`

func parse(args []string) (options, error) {
	o := options{at: -1, load: time.Millisecond, item: time.Millisecond, unload: time.Millisecond, heartbeat: time.Second,
		concurrent: 1, uuid: "GPU-fake", proto: 1, fault: None}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return o, fmt.Errorf("%q is no option; there are %s", arg, OptionsText)
		}
		if err := o.set(name, value); err != nil {
			return o, fmt.Errorf("%s: %w", arg, err)
		}
	}
	return o, nil
}

func (o *options) set(name, value string) (err error) {
	durations := map[string]*time.Duration{"load": &o.load, "item": &o.item, "unload": &o.unload, "heartbeat": &o.heartbeat, "hello": &o.hello}
	flags := map[string]*bool{"offspring": &o.offspring, "deaf": &o.deaf, "environ": &o.environ, "nostage": &o.noStage}
	sizes := map[string]*int64{"memory": &o.memory, "print": &o.print, "ballast": &o.ballast}
	switch {
	case durations[name] != nil:
		*durations[name], err = time.ParseDuration(value)
	case flags[name] != nil:
		*flags[name], err = strconv.ParseBool(value)
	case sizes[name] != nil:
		var size scheduler.Bytes
		size, err = scheduler.ParseBytes(value)
		*sizes[name] = int64(size)
	case name == "concurrent":
		o.concurrent, err = strconv.ParseInt(value, 10, 64)
	case name == "proto":
		o.proto, err = strconv.ParseInt(value, 10, 64)
	case name == "at":
		o.at, err = strconv.Atoi(value)
	case name == "device":
		o.device = value
	case name == "fault":
		o.fault = Fault(value)
	case name == "models":
		o.models = strings.Split(value, ",")
	case name == "uuid":
		o.uuid = value
	default:
		return fmt.Errorf("there is no such option; there are %s", OptionsText)
	}
	return err
}
