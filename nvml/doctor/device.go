package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vramsim/vramsim/nvml"
	"github.com/vramsim/vramsim/scheduler"
)

// hidden is how much may be used with no process to see before that is odd:
// more than drivers keep for themselves, less than any context with a model.
const hidden = scheduler.GiB

// hangs reports whether a call failed because its driver does not answer, which
// is said once, as a check of its own.
func hangs(err error) bool { return errors.Is(err, nvml.ErrHung) }

func (e *examination) mig(info nvml.DeviceInfo) {
	if info.MIG {
		e.add("MIG", Fail, Busy, "the device is cut into instances (MIG), which are not supported",
			"take another device, or have its administrator turn MIG off: nvidia-smi -mig 0")
		return
	}
	e.ok("MIG", "off")
}

// memory examines the figures of the device's memory; without them nothing can
// be said of who uses it.
func (e *examination) memory(tel nvml.Telemetry, d *Device) bool {
	m, err := tel.Memory()
	if hangs(err) {
		return false
	}
	if err != nil {
		e.absent("memory", err, troubleAdvice(err))
		return false
	}
	d.Memory = m
	reserved := "what is reserved is not told"
	if m.Reserved != nvml.Unknown {
		reserved = mebibytes(m.Reserved) + " reserved"
	}
	parts := fmt.Sprintf("%s free, %s used, %s", mebibytes(m.Free), mebibytes(m.Used), reserved)
	if m.Sum == "" {
		e.warn("memory", "compare used bytes only with used bytes: the figures of this driver leave some out", "%s; they do not add up to %v", parts, m.Total)
		return true
	}
	e.ok("memory", "%s; total = %s", parts, m.Sum)
	return true
}

// processes looks for others on the device.
func (e *examination) processes(tel nvml.Telemetry, d *Device) (found bool) {
	list, err := tel.Processes()
	if hangs(err) {
		return false
	}
	if err != nil {
		e.warn("processes", "whether others use the device is only seen by the memory that is used", "%v", err)
		return false
	}
	d.Processes = append(d.Processes, list...)
	others := e.foreign(list)
	if len(others) == 0 {
		e.ok("processes", "nobody else")
		return false
	}
	e.used(others)
	return true
}

// used says by whom.
func (e *examination) used(others []nvml.Process) {
	var names []string
	for _, p := range others {
		names = append(names, processText(p))
	}
	found := "used by " + strings.Join(names, ", ")
	if e.Needs.Shared {
		e.warn("processes", "figures of this device are not for citing", "%s", found)
		return
	}
	e.add("processes", Fail, Busy, found, "wait for them or end them (nvidia-smi shows who they are), take another device, or run with --shared and do not cite the figures")
}

// baseline looks at what is used before anything of ours is there.
func (e *examination) baseline(d *Device) {
	used := d.Memory.Used
	for _, p := range d.Processes {
		used -= max(0, p.Bytes) // Unknown is negative
	}
	if used > hidden && len(d.Processes) == 0 {
		e.warn("baseline", "somebody may use the device whose processes cannot be seen from here, as from within a container; nvidia-smi on the host shows them",
			"%s are used and no process is listed", mebibytes(used))
		return
	}
	e.ok("baseline", "%s used, %s of them by no process that is listed", mebibytes(d.Memory.Used), mebibytes(max(0, used)))
}

// sample looks at the state of the moment.
func (e *examination) sample(tel nvml.Telemetry, d *Device) {
	s, err := tel.Sample()
	if hangs(err) {
		return
	}
	if err != nil {
		e.absent("state", err, troubleAdvice(err))
		return
	}
	d.Sample = s
	text := fmt.Sprintf("%s, SM %s, %s", watts(s.PowerMilliwatts), unless(s.SMClockMHz, "%d MHz"), unless(s.TemperatureC, "%d °C"))
	if held := s.Reasons & nvml.Throttling; held != 0 {
		e.warn("state", "let the device cool down or raise its power limit; a run marks the time and is INVALID beyond the limits of its manifest", "%s; slowed down by %s", text, held)
		return
	}
	e.ok("state", "%s, not slowed down", text)
}

func watts(milliwatts int64) string {
	if milliwatts == nvml.Unknown {
		return "power not told"
	}
	return fmt.Sprintf("%.1f W", float64(milliwatts)/1e3)
}

// unless formats v, unless it is Unknown.
func unless(v int, format string) string {
	if v == nvml.Unknown {
		return "not told"
	}
	return fmt.Sprintf(format, v)
}

// capability is a row of the table of calls.
type capability struct {
	name string
	call nvml.Call
	cost string // of doing without
}

func capabilitiesOf(c nvml.Caps) []capability {
	return []capability{
		{"call memory", c.Memory, "there are no figures of memory"},
		{"call processes", c.Processes, "other users of the device are not named"},
		{"call energy", c.Energy, "there are no figures of energy"},
		{"call link bytes", c.LinkBytes, "bytes over the link are not counted"},
		{"call power", c.Power, "there are no figures of power"},
		{"call clocks", c.Clocks, "drops of the clock are not seen"},
		{"call temperature", c.Temperature, "the temperature is not recorded"},
		{"call reasons", c.Reasons, "throttling is not seen"},
		{"call link", c.Link, "a link that slows down is not seen"},
		{"call faults", c.Faults, "Xid errors are not seen, a lost device only when a call fails"},
	}
}

func (e *examination) capabilities(c nvml.Caps) {
	for _, x := range capabilitiesOf(c) {
		if !x.call.Present {
			e.warn(x.name, "a newer driver may have it; without, "+x.cost, "%s", x.call.Detail)
			continue
		}
		var parts []string
		if x.call.Cost > 0 {
			parts = append(parts, fmt.Sprintf("takes %v", rounded(x.call.Cost)))
		}
		if x.call.Period > 0 {
			parts = append(parts, fmt.Sprintf("changes every %v", rounded(x.call.Period)))
		}
		if len(parts) == 0 {
			parts = append(parts, "there")
		}
		e.ok(x.name, "%s", strings.Join(parts, ", "))
	}
}

// rounded keeps about three figures: the exact ones are in JSON.
func rounded(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}

// link compares the link with what it could be. An idle device slows it down:
// only under load does it show.
func (e *examination) link(ctx context.Context, rig Rig, tel nvml.Telemetry, d *Device) {
	idle := linkText(d.Sample.Link)
	if rig.Copy == nil {
		e.ok("link", "idle %s, at most %s; under load not measured", idle, linkText(d.Info.MaxLink))
		return
	}
	var loaded nvml.Link
	var read error
	err := rig.Copy(ctx, d.Info, func() { loaded, read = fastest(ctx, tel) })
	if hangs(read) {
		return
	}
	if err != nil || read != nil {
		e.warn("link", "the copy that was to load it failed; loads will, too", "idle %s; it cannot be looked at under load: %v", idle, firstOf(err, read))
		return
	}
	d.LinkUnderLoad = &loaded
	text := fmt.Sprintf("idle %s, under load %s, at most %s", idle, linkText(loaded), linkText(d.Info.MaxLink))
	if loaded.Generation < d.Info.MaxLink.Generation || loaded.Width < d.Info.MaxLink.Width {
		e.warn("link", "the slot, a riser or the board's settings hold it back; loads take longer than they could", "%s", text)
		return
	}
	e.ok("link", "%s", text)
}

// The looks at a link under load: it may slow down between two copies.
const (
	linkLooks = 20
	linkPause = 10 * time.Millisecond
)

// fastest is the fastest link seen in some looks.
func fastest(ctx context.Context, tel nvml.Telemetry) (best nvml.Link, err error) {
	for range linkLooks {
		s, err := tel.Sample()
		if err != nil {
			return best, err
		}
		if s.Link.Generation*s.Link.Width > best.Generation*best.Width {
			best = s.Link
		}
		select {
		case <-ctx.Done():
			return best, ctx.Err()
		case <-time.After(linkPause):
		}
	}
	return best, nil
}

func linkText(l nvml.Link) string {
	if l == (nvml.Link{}) {
		return "not told"
	}
	return fmt.Sprintf("gen%d x%d", l.Generation, l.Width)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// context makes one and looks at it from outside: what it costs, and whether
// our own process is listed under the PID that we know it by.
func (e *examination) context(ctx context.Context, rig Rig, tel nvml.Telemetry, d *Device) {
	if rig.Context == nil {
		return
	}
	var inside nvml.Memory
	var list []nvml.Process
	var read, named error
	own := 0
	err := rig.Context(ctx, d.Info, func(pid int) {
		own = pid
		inside, read = tel.Memory()
		list, named = tel.Processes()
	})
	if err != nil {
		e.absent("context", err, "the CUDA driver has to work where this runs: see that no other process holds the device exclusively and that enough memory is free")
		return
	}
	if read == nil {
		d.ContextBytes = max(0, inside.Used-d.Memory.Used)
		e.ok("context", "can be made; it takes %s", mebibytes(d.ContextBytes))
	}
	if named == nil && own != 0 {
		e.ownPID(own, list)
	}
}

func (e *examination) ownPID(own int, list []nvml.Process) {
	for _, p := range list {
		if p.PID == own {
			e.ok("own PID", "our process is listed as %s", processText(p))
			return
		}
	}
	e.warn("own PID", "the PIDs are the host's, as in a container: what others use is computed as what is used less what is ours", "our process %d is not listed", own)
}
