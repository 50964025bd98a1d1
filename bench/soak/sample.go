package main

import (
	"fmt"
	"log"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
)

// sample is what is in use after so many messages, with the queue empty.
type sample struct {
	messages float64
	uses     [6]float64
}

// quantities are what a sample has, in its order.
var quantities = [6]struct {
	name, unit string
	scale      float64
}{
	{"heap and stacks", "KiB", 1 << 10},
	{"resident", "KiB", 1 << 10},
	{"goroutines", "", 1},
	{"open files", "", 1},
	{"directory", "KiB", 1 << 10},
	{"checkpoint", "KiB", 1 << 10},
}

// look takes a sample: the least of several looks, as a checkpoint may be
// under way.
func (s *soak) look(messages int, rate float64) {
	least := s.uses()
	for range 4 {
		time.Sleep(20 * time.Millisecond)
		for i, n := range s.uses() {
			least[i] = min(least[i], n)
		}
	}
	s.seen = append(s.seen, sample{float64(messages), least})
	s.dump(messages)
	fmt.Printf("%9d messages, %6.0f/s:", messages, rate)
	for i, q := range quantities {
		fmt.Printf("  %s %.0f %s", q.name, least[i]/q.scale, q.unit)
	}
	fmt.Println()
}

func (s *soak) uses() [6]float64 {
	heap := meter.Heap()
	debug.FreeOSMemory()
	return [6]float64{
		float64(heap), float64(meter.Resident()), float64(runtime.NumGoroutine()), float64(meter.Files()),
		float64(spool.Size(s.dir)), size(s.dir + "/checkpoint"),
	}
}

// dump writes what is on the heap, when the first quarter has passed and
// again after each sample, to compare: go tool pprof -diff_base.
func (s *soak) dump(messages int) {
	if s.profile == "" || messages < s.messages/4 {
		return
	}
	name := s.profile + ".last"
	if messages < s.messages/4+s.every {
		name = s.profile + ".first"
	}
	f, err := os.Create(name)
	if err != nil {
		log.Print(err)
		return
	}
	defer f.Close()
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		log.Print(err)
	}
}

func size(file string) float64 {
	info, err := os.Stat(file)
	if err != nil {
		return 0
	}
	return float64(info.Size())
}

// report prints the slopes. The first quarter is left out: by then all pools
// and caches are full.
func (s *soak) report() {
	seen := s.seen[len(s.seen)/4:]
	if len(seen) < 3 {
		fmt.Println("too few samples for a slope")
		return
	}
	fmt.Printf("slopes over the last %d samples:\n", len(seen))
	for i, q := range quantities {
		slope, deviation := fit(seen, i)
		million, about := 1e6*slope/q.scale, 1e6*deviation/q.scale
		fmt.Printf("%-16s %+10.2f ± %.2f %s per million, %+.1f ± %.1f %s in ten million, seen %.0f to %.0f%s\n",
			q.name, million, about, q.unit, 10*million, 10*about, q.unit,
			extreme(seen, i, math.Min)/q.scale, extreme(seen, i, math.Max)/q.scale, verdict(slope, deviation))
	}
}

// verdict is what a slope means. What moves in steps, as the number of spare
// segments does, may seem to grow; the extremes tell.
func verdict(slope, deviation float64) string {
	if slope <= 3*deviation {
		return ": no growth beyond the scatter"
	}
	return ": GROWS"
}

func extreme(seen []sample, quantity int, of func(x, y float64) float64) float64 {
	x := seen[0].uses[quantity]
	for _, m := range seen {
		x = of(x, m.uses[quantity])
	}
	return x
}

// fit returns the slope of the line of least squares through a quantity, and
// its standard error.
func fit(seen []sample, quantity int) (slope, deviation float64) {
	var x, y, xx, xy, rest float64
	n := float64(len(seen))
	for _, m := range seen {
		x += m.messages / n
		y += m.uses[quantity] / n
	}
	for _, m := range seen {
		xx += (m.messages - x) * (m.messages - x)
		xy += (m.messages - x) * (m.uses[quantity] - y)
	}
	slope = xy / xx
	for _, m := range seen {
		r := m.uses[quantity] - y - slope*(m.messages-x)
		rest += r * r
	}
	return slope, math.Sqrt(rest / (n - 2) / xx)
}
