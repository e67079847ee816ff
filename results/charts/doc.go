// Package charts draws what a run measured, as SVG, PNG or PDF.
//
// Every chart takes plain data in seconds, bytes and shares and lays itself
// out: title, subtitle, a legend that covers nothing, panels with units on
// their axes, and a note for what was left out. All share one theme: the
// Liberation fonts, a light grid and the palette of Okabe and Ito, which can
// be told apart with any colour vision; no meaning rests on colour alone.
//
// Charts never fail on their data: what is not a finite number is left out,
// logarithmic axes leave out what is not positive and say so, names are
// stripped of control characters, more points than can be seen are thinned
// with a note, and where nothing remains the chart says "no data".
package charts
