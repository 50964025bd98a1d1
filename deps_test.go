package sqmail_test

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sqmail/sqmail"

// A room is a folder with the packages below it, or one of those packages.
type room struct {
	// floor is where it stands. A package imports from floors below its own,
	// and from its own room. See ARCHITECTURE.md.
	floor int

	// modules are the third-party modules that it may import, tests those
	// that only its tests may.
	modules, tests []string

	// peers are packages of other rooms on the same floor that it may import.
	peers []string
}

const (
	bbolt    = "go.etcd.io/bbolt"
	mdns     = "github.com/miekg/dns"
	gosmtp   = "github.com/emersion/go-smtp"
	gomilter = "github.com/emersion/go-milter"
	gosasl   = "github.com/emersion/go-sasl"
	gocrypt  = "github.com/go-crypt/crypt"
	mime     = "github.com/jhillyerd/enmime/v2"
	xcrypto  = "golang.org/x/crypto"
	xnet     = "golang.org/x/net"
	xsys     = "golang.org/x/sys"
	xtext    = "golang.org/x/text"
	rapid    = "pgregory.net/rapid"
)

// The house. Floors are multiplied by ten; internal packages stand half a
// floor below the others of floor 1. The row of a package below a room stands
// in place of the room's: what is heavy stays in a package that may be left
// out.
var house = map[string]room{
	"": {floor: 0},

	"internal/cdb":     {floor: 5},
	"internal/maildir": {floor: 5},
	"internal/serve":   {floor: 5, peers: []string{"internal/wire"}},
	"internal/spoolfs": {floor: 5, modules: []string{xsys}},
	"internal/tai64":   {floor: 5},
	"internal/wildmat": {floor: 5},
	"internal/wire":    {floor: 5},

	"auth":          {floor: 10, modules: []string{gosasl}},
	"auth/userfile": {floor: 10, modules: []string{gocrypt, xcrypto}},
	"dkim":          {floor: 10},
	"resolver":      {floor: 10, modules: []string{mdns, xnet}},
	"spf":           {floor: 10},

	"delivery":        {floor: 20},
	"delivery/remote": {floor: 20, modules: []string{gosmtp, gosasl, xnet}},
	"filter":          {floor: 20},
	"filter/milter":   {floor: 20, modules: []string{gomilter}},
	"filter/greylist": {floor: 20, modules: []string{bbolt}},
	"pop3":            {floor: 20, modules: []string{gosasl}},
	"qmqp":            {floor: 20},
	"qmtp":            {floor: 20},
	"queue":           {floor: 20},
	"queue/segstore":  {floor: 20, modules: []string{xsys}},
	"smtpd":           {floor: 20, modules: []string{gosasl}, tests: []string{gosmtp}},
	"smtpd/gosmtp":    {floor: 20, modules: []string{gosmtp, gosasl}},

	"control":  {floor: 30},
	"mailtest": {floor: 30, modules: []string{mdns, mime}, tests: []string{gosmtp, xnet}},

	"bench":           {floor: 40},
	"bench/scale":     {floor: 40, modules: []string{xsys}}, // to take files out of the page cache
	"cmd":             {floor: 40, tests: []string{mdns, gosmtp, gosasl}},
	"e2e":             {floor: 40, tests: []string{mdns, gosmtp, gosasl}},
	"examples":        {floor: 40, tests: []string{gosmtp, gosasl}},
	"internal/citool": {floor: 40},
}

// forTests may be imported by the tests of any room.
var forTests = []string{"mailtest", "queue/queuetest", rapid}

func TestFloorsHold(t *testing.T) {
	for _, p := range packages(t) {
		r, root := roomOf(p.path)
		if root == "?" {
			t.Errorf("%s: no row in the table of deps_test.go says on which floor it stands", p.path)
			continue
		}
		for _, f := range p.files {
			for path := range f.imports() {
				if why := refuse(r, root, path, f.test); why != "" {
					t.Errorf("%s imports %s: %s", f.name, path, why)
				}
			}
		}
	}
}

// refuse says why a package of room r, named root, may not import path.
func refuse(r room, root, path string, test bool) string {
	local, ours := strings.CutPrefix(path+"/", module+"/")
	local = strings.TrimSuffix(local, "/")
	switch {
	case !ours && !strings.Contains(strings.Split(path, "/")[0], "."):
		return "" // the standard library
	case test && slices.ContainsFunc(forTests, within(path, local)):
		return ""
	case !ours:
		if slices.ContainsFunc(r.modules, within(path)) || test && slices.ContainsFunc(r.tests, within(path)) {
			return ""
		}
		return "the table does not name this module for it"
	}
	other, otherRoot := roomOf(local)
	switch {
	case otherRoot == root || slices.ContainsFunc(r.peers, within(local)):
		return ""
	case otherRoot == "?":
		return "it is not in the table"
	case other.floor == 0 || other.floor < r.floor:
		return ""
	}
	return "that is not on a floor below"
}

func within(paths ...string) func(string) bool {
	return func(dir string) bool {
		return slices.ContainsFunc(paths, func(p string) bool { return p == dir || strings.HasPrefix(p, dir+"/") })
	}
}

// roomOf returns the row of a package and the first folder of its room; "?"
// if there is none.
func roomOf(pkg string) (row room, root string) {
	for dir := pkg; ; {
		if r, found := house[dir]; found {
			first, _, _ := strings.Cut(dir, "/")
			if first == "internal" {
				first = dir
			}
			if dir != pkg {
				r.modules = nil // a package of its own names its own
			}
			return r, first
		}
		up := strings.LastIndexByte(dir, '/')
		if up < 0 {
			return room{}, "?"
		}
		dir = dir[:up]
	}
}

// keepOut are packages of the standard library that no room below cmd uses.
var keepOut = map[string]string{
	"flag":          "reads the arguments",
	"log":           "logs through a global",
	"expvar":        "has globals",
	"net/textproto": "ends a message at a dot behind a bare LF, and reads lines without a bound",
}

// Below cmd nothing reads flags or the environment, has an init function, or
// logs through a global. (Files of configuration are for control to read.)
func TestLibraryKeepsToItself(t *testing.T) {
	forbidden := map[string]string{
		"os.Getenv": "reads the environment", "os.LookupEnv": "reads the environment",
		"os.Environ": "reads the environment", "os.Args": "reads the arguments",
		"slog.Default": "logs through a global", "slog.SetDefault": "logs through a global",
		"slog.Info": "logs through a global", "slog.Warn": "logs through a global",
		"slog.Error": "logs through a global", "slog.Debug": "logs through a global",
		"os.Exit": "ends the program", "signal.Notify": "takes the program's signals",
		"signal.NotifyContext": "takes the program's signals",
	}
	for _, p := range packages(t) {
		if r, _ := roomOf(p.path); r.floor >= 40 {
			continue
		}
		for _, f := range p.files {
			if f.test {
				continue
			}
			for path := range f.imports() {
				if why := keepOut[path]; why != "" {
					t.Errorf("%s imports %s, which %s", f.name, path, why)
				}
			}
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s has an init function", f.name)
					}
				case *ast.SelectorExpr:
					pkg, _ := n.X.(*ast.Ident)
					if pkg != nil && forbidden[pkg.Name+"."+n.Sel.Name] != "" {
						t.Errorf("%s: %s.%s %s", f.at(n), pkg.Name, n.Sel.Name, forbidden[pkg.Name+"."+n.Sel.Name])
					}
				}
				return true
			})
		}
	}
}
