package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What the garbage collector is asked for. It lets memory grow to twice what is
// in use, which is the right trade for a few MiB, and a waste when thousands of
// slow peers hold a hundred. From moderate on it works harder: garbage is
// bounded by a quarter of what is in use, or spare.
const (
	moderate  = 96 << 20
	spare     = 24 << 20
	tuneEvery = 500 * time.Millisecond
)

// boundGarbage keeps the limit of the garbage collector near what is in use,
// until ctx ends. Whoever sets GOMEMLIMIT or GOGC knows better.
func boundGarbage(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	tick := time.NewTicker(tuneEvery)
	defer tick.Stop()
	for limit := int64(0); ; {
		// To set it stops the world for a moment: not for nothing.
		if want := memoryLimit(inUse()); want > limit+limit/20 || want < limit-limit/20 {
			limit = want
			debug.SetMemoryLimit(limit)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// memoryLimit is how much the process may take if so much is in use.
func memoryLimit(inUse int64) int64 {
	return max(moderate, inUse+max(spare, inUse/4))
}

// inUse is what the last collection found to be in use, and what the runtime
// itself needs for it.
func inUse() int64 {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"}, {Name: "/memory/classes/metadata/mspan/inuse:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"}, {Name: "/memory/classes/other:bytes"}, {Name: "/memory/classes/os-stacks:bytes"},
	}
	metrics.Read(samples)
	sum := int64(0)
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += int64(s.Value.Uint64())
		}
	}
	return sum
}
