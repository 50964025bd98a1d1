package main

import (
	"math"
	"testing"
)

func TestSlopeOfALine(t *testing.T) {
	var seen []sample
	for i := range 5 {
		noise := float64(i%2) - 0.4
		seen = append(seen, sample{messages: float64(1000 * i), heap: 5e6 + 3*float64(1000*i) + noise})
	}
	if got := slope(seen, func(m sample) float64 { return m.heap }); math.Abs(got-3) > 0.01 {
		t.Errorf("slope %v, want 3", got)
	}
}
