// Package meter measures what this process uses.
package meter

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"time"
)

// Usage is what the process has used so far.
type Usage struct {
	At     time.Time
	CPU    time.Duration
	Allocs uint64 // objects
	Bytes  uint64 // octets allocated
}

// Now returns the usage so far.
func Now() Usage {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return Usage{time.Now(), cpu(), samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

// Since returns the difference to an earlier usage, and the time between.
func Since(from Usage) (d Usage, elapsed time.Duration) {
	now := Now()
	return Usage{now.At, now.CPU - from.CPU, now.Allocs - from.Allocs, now.Bytes - from.Bytes}, now.At.Sub(from.At)
}

// Heap returns the octets of live objects and of stacks, after a collection.
func Heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Resident and Peak return the resident memory of the process now, and at
// most since ResetPeak; 0 where /proc is not there.
func Resident() int64 { return status("VmRSS:") }

// Peak returns the greatest resident memory.
func Peak() int64 { return status("VmHWM:") }

// ResetPeak forgets the peak.
func ResetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

func status(field string) int64 {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, found := bytes.Cut(text, []byte(field))
	if !found {
		return 0
	}
	words := bytes.Fields(rest)
	kib, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return kib << 10
}

// Files returns the number of open files.
func Files() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// Profile writes profiles of what happens until stop: of the CPU to one file,
// of all allocations since the start of the process to another. "" is no file.
func Profile(cpuFile, allocFile string) (stop func() error, err error) {
	var f *os.File
	if cpuFile != "" {
		if f, err = os.Create(cpuFile); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, err
		}
	}
	return func() error {
		if f != nil {
			pprof.StopCPUProfile()
			if err := f.Close(); err != nil {
				return err
			}
		}
		if allocFile == "" {
			return nil
		}
		a, err := os.Create(allocFile)
		if err != nil {
			return err
		}
		defer a.Close()
		return pprof.Lookup("allocs").WriteTo(a, 0)
	}, nil
}
