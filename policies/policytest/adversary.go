package policytest

type objective struct{}

func objectives() []objective { return nil }

func (objective) climb(*trial, Config) Worst { return Worst{} }

// Figure writes the figure.
func (w *Worst) Figure() string { return "" }

// Value is the figure as a number.
func (w *Worst) Value() float64 { return float64(w.Num) / float64(w.Den) }
