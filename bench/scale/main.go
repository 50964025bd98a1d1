// Scale measures a queue with very many deferred messages: what one costs in
// memory, how long a start takes (after a kill, with and without a checkpoint,
// and after an orderly end) until messages are taken and until all are in the
// index, how new mail fares meanwhile, how soon what is due is attempted, how
// long a listing takes, and how fast new messages are committed in comparison
// with an empty queue.
//
//	scale -n 1000000 -size 512
//	scale -n 1000000 -keep DIR     leaves the queue in DIR, for a daemon to open
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 1_000_000, "deferred messages")
	size := flag.Int("size", 512, "octets of a message")
	dir := flag.String("dir", "", "where the store is made")
	keep := flag.String("keep", "", "make the store in this directory, and leave it there")
	filled := flag.String("fill", "", "be the process that fills this directory")
	started := flag.String("start", "", "be the process that opens this directory")
	flag.Parse()
	var err error
	switch {
	case *filled != "":
		err = fill(*filled, *n, *size)
	case *started != "":
		err = start(*started, *n)
	case *keep != "":
		err = measure(*keep, *n, *size)
	default:
		var path string
		var remove func()
		if path, remove, err = spool.Temp(*dir); err == nil {
			err = measure(path, *n, *size)
			remove()
		}
	}
	if err != nil {
		log.Fatal("scale: ", err)
	}
}

func measure(dir string, n, size int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, "queue")
	if err := fillAndKill(path, n, size); err != nil {
		return err
	}
	for _, after := range []string{"a kill", "a kill, no checkpoint", "an orderly end"} {
		for _, cached := range []bool{false, true} {
			if err := measureStart(path, after, cached, n); err != nil {
				return err
			}
		}
	}
	store, err := segstore.Open(path, nil)
	if err != nil {
		return err
	}
	err = errors.Join(store.Loaded(context.Background()), list(store), due(store), rate(store, filepath.Join(dir, "empty")))
	start := time.Now()
	err = errors.Join(err, store.Close())
	fmt.Printf("close %v\n", time.Since(start).Round(time.Millisecond))
	return err
}

// measureStart opens the store in a process of its own, so that it is killed
// at the end unless that is to be orderly, and nothing is left in memory.
func measureStart(path, after string, cached bool, n int) error {
	if after == "a kill, no checkpoint" {
		if err := os.Remove(filepath.Join(path, "checkpoint")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if after == "an orderly end" && !cached {
		store, err := segstore.Open(path, nil)
		if err != nil {
			return err
		}
		if err := errors.Join(store.Loaded(context.Background()), store.Close()); err != nil {
			return err
		}
	}
	if !cached {
		if err := evict(path); err != nil {
			return err
		}
	}
	where := map[bool]string{false: "from the disk", true: "from the page cache"}[cached]
	fmt.Printf("start after %s, %s: ", after, where)
	return self("-start", path, "-n", strconv.Itoa(n))
}

// self runs this program again, until it kills itself or ends.
func self(args ...string) error {
	name, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && !exit.Exited() {
		return nil // killed
	}
	return err
}

// fillAndKill has another process fill the store, and kills it.
func fillAndKill(path string, n, size int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-fill", path, "-n", strconv.Itoa(n), "-size", strconv.Itoa(size))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == filledMark {
			return nil
		}
		fmt.Println(lines.Text())
	}
	return errors.New("the queue could not be filled")
}

// list reads the whole queue as "queue list" does.
func list(store *segstore.Store) error {
	if err := meter.ResetPeak(); err != nil {
		return err
	}
	resident := meter.Resident()
	start := time.Now()
	var first time.Duration
	n := 0
	for _, err := range store.Scan(context.Background()) {
		if err != nil {
			return err
		}
		if n++; n == 1 {
			first = time.Since(start)
		}
	}
	fmt.Printf("list: first after %v, all %d after %v, resident memory at most %+.1f MiB\n",
		first.Round(10*time.Microsecond), n, time.Since(start).Round(time.Millisecond), mib(meter.Peak()-resident))
	return nil
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// rate compares commits with those to an empty store, before and after.
func rate(store *segstore.Store, dir string) error {
	before, err := emptyRate(dir)
	if err != nil {
		return err
	}
	full, err := commits(store)
	if err != nil {
		return err
	}
	after, err := emptyRate(dir)
	empty := (before + after) / 2
	fmt.Printf("commits: %.0f/s, with the queue empty %.0f/s: %.0f %%\n", full, empty, 100*full/empty)
	return err
}

func emptyRate(dir string) (float64, error) {
	store, err := segstore.Open(dir, nil)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	defer store.Close()
	return commits(store)
}

// commits measures commits of 4 KiB from 64 goroutines; the messages are not
// due before tomorrow.
func commits(store queue.Store) (float64, error) {
	const n = 60_000
	tomorrow := time.Now().Add(24 * time.Hour)
	env := spool.Envelope("sender@client.test", "user@far.test")
	body := load.Message(4096)
	start := time.Now()
	err := spool.Fill(store, n, body, func(int) queue.Submission { return queue.Submission{Envelope: env, Due: tomorrow} })
	return n / time.Since(start).Seconds(), err
}
