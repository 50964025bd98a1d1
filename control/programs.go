package control

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/program"
)

// ScannerSettings are about the program that looks at messages (QHPSI…).
type ScannerSettings struct {
	// Program is a path, relative to the home if it is not absolute, or a name
	// that is looked for in bin of the home and in the directories of the
	// system (QHPSI). "": none.
	Program string

	// Args stand behind the message's file, up to the first that is "" (QHPSIARG1
	// to 3).
	Args [3]string

	// Infected is the exit code that refuses, 0 for 1 (QHPSIRC).
	Infected int

	// MinSize and MaxSize bound the messages that are looked at, in octets, 0:
	// no bound (QHPSIMINSIZE, QHPSIMAXSIZE). OnlyBase64 leaves out those without
	// a base64 part (BASE64).
	MinSize, MaxSize int64
	OnlyBase64       bool
}

// setScanner takes QHPSI. "-" and "" are none.
func (f *FilterSettings) setScanner(v string) error {
	f.Scanner.Program = ""
	if v == "-" {
		return nil
	}
	f.Scanner.Program = v
	return programName(v)
}

// setScannerArg returns what takes the nth QHPSIARG.
func setScannerArg(n int) func(*FilterSettings, string) error {
	return func(f *FilterSettings, v string) error {
		f.Scanner.Args[n-1] = v
		return nil
	}
}

func (f *FilterSettings) setInfected(v string) error {
	n, err := digits(v, 255)
	if err == nil && n == 0 {
		err = errors.New("0 is the exit code of messages that are clean")
	}
	f.Scanner.Infected = int(n)
	return err
}

// setQueueProgram takes QMAILQUEUE. "-" and "" are none.
func (f *FilterSettings) setQueueProgram(v string) error {
	f.QueueProgram = ""
	if v == "" || v == "-" {
		return nil
	}
	f.QueueProgram = v
	return programName(v)
}

func programName(v string) error {
	if !printable(v) || strings.TrimSpace(v) != v || len(v) > 1000 {
		return fmt.Errorf("%.80q is no program", v)
	}
	return nil
}

// runsPrograms reports whether variables that mean nothing to us go somewhere
// all the same.
func (f *FilterSettings) runsPrograms() bool { return f.QueueProgram != "" || f.Scanner.Program != "" }

// checkProgram warns of a program that is not there.
func checkProgram(c *Config, v Variable, program string, complain func(bool, string, ...any)) {
	switch {
	case program == "":
	case v.Name == "QHPSI" && !strings.Contains(program, "/"):
		dirs := filepath.SplitList(programDirs(c.Home))
		if !slices.ContainsFunc(dirs, func(dir string) bool { return runnable(filepath.Join(dir, program)) }) {
			complain(false, "%s: there is no program %q in %s: mail is deferred", v.Name, program, strings.Join(dirs, ", "))
		}
	case !runnable(below(c.Home, program)):
		complain(false, "%s: there is no program %s that can be run: mail is deferred", v.Name, below(c.Home, program))
	}
}

// runnable reports whether path is a program.
func runnable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

// programDirs is the PATH of programs.
func programDirs(home string) string {
	return filepath.Join(home, "bin") + ":/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
}

// below returns the path of a file, relative to the home if it is not absolute.
func below(home, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(home, path)
}

// environ is what programs find in their environment besides the message's
// variables.
func (f *Filters) environ() []string { return []string{"PATH=" + programDirs(f.config.Home)} }

// scanner makes the filter that runs QHPSI: one for all who want it so, for it
// bounds how many programs run at a time.
func (f *Filters) scanner(s *Settings) filter.Filter {
	type key struct {
		ScannerSettings
		text string
	}
	text := s.Texts["CONTENT"]
	return f.share(key{s.Scanner, text}, func() filter.Filter {
		p := &program.Scanner{
			Program: s.Scanner.Program, Infected: s.Scanner.Infected,
			MinSize: s.Scanner.MinSize, MaxSize: s.Scanner.MaxSize, OnlyBase64: s.Scanner.OnlyBase64,
			Env: f.environ(), TempDir: f.parts.TempDir, Text: text,
		}
		if strings.Contains(p.Program, "/") {
			p.Program = below(f.config.Home, p.Program)
		}
		for _, arg := range s.Scanner.Args {
			if arg == "" {
				break
			}
			p.Args = append(p.Args, arg)
		}
		return p
	})
}

// Receiver returns who takes the messages of a profile's clients: next, unless
// the profile names a program for that (QMAILQUEUE).
func (f *Filters) Receiver(p *Profile, next sqmail.Receiver) sqmail.Receiver {
	if p.QueueProgram == "" {
		return next
	}
	env := f.environ()
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		env = append(env, name+"="+p.Vars[name])
	}
	return &program.Queue{
		Program: p.QueueProgram, Dir: f.config.Home, Env: env, TempDir: f.parts.TempDir, Running: f.running(p.QueueProgram), Log: f.parts.Log,
	}
}

// maxQueuePrograms is how many of a program in QMAILQUEUE run at a time.
const maxQueuePrograms = 40

// running is what bounds a program, whatever the variables that it is given.
func (f *Filters) running(program string) chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queues[program] == nil {
		f.queues[program] = make(chan struct{}, maxQueuePrograms)
	}
	return f.queues[program]
}
