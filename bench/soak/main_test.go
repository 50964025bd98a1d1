package main

import (
	"math"
	"testing"
)

func TestSlopeOfALine(t *testing.T) {
	var seen []sample
	for i := range 50 {
		m := sample{messages: float64(1000 * i)}
		noise := 100 * (float64(i%2) - 0.5)
		m.uses[0], m.uses[1] = 5e6+3*m.messages+noise, 5e6+noise
		seen = append(seen, m)
	}
	slope, deviation := fit(seen, 0)
	if math.Abs(slope-3) > 3*deviation || deviation > 0.001 || deviation == 0 {
		t.Errorf("slope %v ± %v, want 3", slope, deviation)
	}
	if verdict(slope, deviation) == verdict(fit(seen, 1)) {
		t.Error("growth and scatter look the same")
	}
}

// A piece has mail of every kind, and none that waits in its second half.
func TestEnvelopesAreOfAllKinds(t *testing.T) {
	s := soak{every: 50_000}
	kinds := make(map[string]int)
	for i := range s.every {
		env := s.envelope(i)
		to := env.Recipients[0]
		kinds[to.Path.Local]++
		if to.Notify != 0 {
			kinds["notify"]++
		}
		if to.Path.Local == "grey" && i >= s.every/2 {
			t.Fatalf("message %d waits", i)
		}
	}
	if kinds["grey"] != 25 || kinds["none"] != 10 || kinds["notify"] != 25 {
		t.Errorf("kinds: %v", kinds)
	}
}
