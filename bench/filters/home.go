package main

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/bench/internal/spool"
	"github.com/sqmail/sqmail/control"
)

// load measures how long a home takes to load, as the daemon does at start and
// at reload, with one long file at a time, and what it keeps in memory.
func (b *bench) load() error {
	dir, remove, err := spool.Temp(b.dir)
	if err != nil {
		return err
	}
	defer remove()
	home := filepath.Join(dir, "home")
	if err := control.Init(home, "mx.bench.test", control.InitOptions{HighPorts: true}); err != nil {
		return err
	}
	services := "smtpd smtp 127.0.0.1:2525 HELOCHECK=. MFDNSCHECK= BADMIMETYPE=! BADLOADERTYPE=M LOCALMFCHECK=! rules=rules.smtpd\n"
	if err := os.WriteFile(filepath.Join(home, "control/services"), []byte(services), 0o644); err != nil {
		return err
	}
	fmt.Printf("%-26s %10s %12s\n", "control file", "load", "memory")
	for _, file := range []struct {
		name    string
		n       int
		entries iter.Seq[string]
	}{
		{"rules.smtpd", 1, addresses(1)},
		{"badhelo", b.entries, badHello(b.entries)},
		{"badmailfrom", b.entries, badMailFrom(b.entries)},
		{"badrcptto", b.entries, badRcptTo(b.entries)},
		{"rcpthosts", b.entries, domains(b.entries)},
		{"morercpthosts", b.entries, moreDomains(b.entries)},
		{"mailfromrules", b.entries, mailFromRules(b.entries)},
		{"badmimetypes", b.entries, signatures(b.entries, 9)},
		{"badloadertypes", b.entries, signatures(b.entries, 5)},
		{"rules.smtpd", b.entries, addresses(b.entries)},
	} {
		path := filepath.Join(home, "control", file.name)
		old, oldErr := os.ReadFile(path)
		if err := os.WriteFile(path, []byte(lines(file.entries)), 0o644); err != nil {
			return err
		}
		before, start := meter.Heap(), meter.Now()
		c, err := control.Load(home)
		if err != nil {
			return err
		}
		used, took := meter.Since(start)
		fmt.Printf("  %-24s %7.0f ms %8.1f MiB  %d entries, %.0f ms of CPU\n",
			file.name, ms(took), float64(meter.Heap()-before)/(1<<20), file.n, ms(used.CPU))
		runtime.KeepAlive(c)
		_ = c.Services
		if oldErr == nil && file.n > 1 {
			err = os.WriteFile(path, old, 0o644)
		} else if file.n > 1 {
			err = os.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
