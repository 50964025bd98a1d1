package main

import "testing"

// TestMemoryLimitLeavesRoom: a limit too near to what is in use would have the
// collector run all the time.
func TestMemoryLimitLeavesRoom(t *testing.T) {
	for inUse, want := range map[int64]int64{0: moderate, 10 << 20: moderate, 80 << 20: 104 << 20, 100 << 20: 125 << 20, 1 << 30: 1280 << 20} {
		if got := memoryLimit(inUse); got != want {
			t.Errorf("with %d in use: %d", inUse, got)
		}
	}
	if n := inUse(); n <= 0 || n > 1<<30 {
		t.Errorf("%d octets in use", n)
	}
}
