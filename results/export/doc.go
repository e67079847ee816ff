// Package export turns an event log into files that other tools read: a
// trace for ui.perfetto.dev and a table of items for spreadsheets and data
// frames. Both read the log once and keep only what is in flight.
//
// The trace applies every event to a core of its own (state replay), so that
// its memory and queue counters are those of the run to the byte, and a log
// that contradicts itself is an error instead of a wrong picture.
package export
