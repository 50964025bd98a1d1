// Slowpeers measures whether thousands of peers that send an octet a second
// keep sqmaild from serving others, and what memory they cost it. The daemon is
// a process of its own, with the limits that it has by itself; the peers come
// from loopback addresses, which count in the limit for all connections only.
// In each state that a session can be in there are as many peers as -n says,
// while a good client sends a letter, and one looks at its mailbox, again and
// again.
//
//	slowpeers                          all states, 5,000 peers each
//	slowpeers -only data,auth -n 10000
//	slowpeers -daemon PATH             a sqmaild that is built already
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sqmail/sqmail/bench/internal/spool"
)

func main() {
	log.SetFlags(0)
	var b bench
	flag.IntVar(&b.peers, "n", 5000, "slow peers")
	flag.DurationVar(&b.hold, "hold", 10*time.Second, "how long they stay")
	flag.StringVar(&b.daemon, "daemon", "", "the sqmaild to measure; by default it is built")
	flag.StringVar(&b.dir, "dir", "", "where homes are made")
	only := flag.String("only", "", "states, with commas")
	flag.Parse()
	if err := b.run(strings.Split(*only, ",")); err != nil {
		log.Fatal("slowpeers: ", err)
	}
}

// bench is what the flags say.
type bench struct {
	peers       int
	hold        time.Duration
	daemon, dir string
}

const maxMemory = 200 << 20 // of the daemon, whatever the peers do

func (b *bench) run(only []string) error {
	dir, remove, err := spool.Temp(b.dir)
	if err != nil {
		return err
	}
	defer remove()
	if b.daemon == "" {
		b.daemon = filepath.Join(dir, "sqmaild")
		build := exec.Command("go", "build", "-o", b.daemon, "github.com/sqmail/sqmail/cmd/sqmaild")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building sqmaild: %w", err)
		}
	}
	fmt.Printf("%-44s %7s %9s %9s %9s %10s\n", fmt.Sprintf("%d peers, %v", b.peers, b.hold), "there", "memory", "of each", "CPU", "good: at most")
	failed := false
	for _, s := range states {
		if only[0] != "" && !slices.Contains(only, s.name) {
			continue
		}
		ok, err := b.measure(filepath.Join(dir, s.name), s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		failed = failed || !ok
	}
	if failed {
		return errors.New("a good client was not served, or memory exceeded 200 MiB")
	}
	return nil
}

// measure has the peers in one state, with a daemon of its own.
func (b *bench) measure(home string, s state) (ok bool, err error) {
	d, err := start(b.daemon, home)
	if err != nil {
		return false, err
	}
	defer d.stop()
	idle := d.memory()
	good := watch(d)
	crowd := gather(d, s, b.peers)
	begun := d.cpu()
	high := idle
	for end := time.Now().Add(b.hold); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		high = max(high, d.memory())
	}
	used := d.cpu() - begun
	there := crowd.there()
	crowd.leave()
	worst, err := good.stop()
	if err != nil {
		fmt.Printf("  %-42s good client: %v\n", s.name+": "+s.what, err)
		return false, nil
	}
	fmt.Printf("  %-42s %7d %5.0f MiB %5.1f KiB %7.1f %% %10v  (%d letters)\n", s.name+": "+s.what, there,
		float64(high)/(1<<20), float64(high-idle)/float64(max(there, 1))/(1<<10), 100*used.Seconds()/b.hold.Seconds(),
		worst.Round(time.Millisecond), good.served)
	return high <= maxMemory, nil
}
