package control_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sqmail/sqmail/control"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"unknown file", map[string]string{"local": "x"}, "control/local: warning: there is no such control file"},
		{"unknown cdb", map[string]string{"x.cdb": "x"}, "control/x.cdb: warning: there is no such control file"},
		{"rules that nothing names", map[string]string{"rules.sub": ":allow"}, "control/rules.sub: warning: no service"},
		{"not supported yet", map[string]string{"dkimdomains": "x"}, "control/dkimdomains: warning: is not supported yet"},
		{"no postmaster", map[string]string{"alias/.qmail-default": absent, "alias/x": ""}, "alias/.qmail-postmaster: warning: does not exist"},
		{"no queue", map[string]string{"queue/x": absent}, "queue: warning: does not exist"},
		{"fatal too", map[string]string{"smtproutes": "a:b;0"}, "control/smtproutes:1: delivery:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			problems := control.CheckFS(home(tt.files), "/")
			for _, p := range problems {
				if strings.HasPrefix(p.String(), tt.want) {
					return
				}
			}
			t.Errorf("problems %v", problems)
		})
	}
}

func TestCheckOfAUsualHomeIsSilent(t *testing.T) {
	problems := control.CheckFS(home(map[string]string{
		"rules.smtpd": ":allow", "rules.smtpd.cdb": "x", "services": "s smtp 127.0.0.1:25 rules=rules.smtpd",
		"morercpthosts": "a.example", "morercpthosts.cdb": "x", ".swp": "x", "concurrencyincoming": "40",
	}), "/")
	if len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}

func TestCheckPutsTheFatalFirst(t *testing.T) {
	problems := control.CheckFS(home(map[string]string{"aaa": "x", "smtproutes": "b:c;0\na:b;0", "me": ""}), "/")
	var got []string
	for _, p := range problems {
		got = append(got, p.File)
	}
	if want := "control/me control/smtproutes control/smtproutes control/aaa"; strings.Join(got, " ") != want {
		t.Errorf("%v", problems)
	}
}

func TestCheckOfSecretsOfFilesThatAreNotReadYet(t *testing.T) {
	fsys := home(map[string]string{"srsdomains": "x"})
	fsys["control/srsdomains"].Mode = 0o644
	warned(t, control.CheckFS(fsys, "/"), "control/srsdomains: warning: everybody can read")
}

func TestCheckOfDirectories(t *testing.T) {
	fsys := home(map[string]string{"queue/x": absent})
	fsys["queue"] = &fstest.MapFile{Mode: 0o644}
	fsys["alias"] = &fstest.MapFile{Mode: fs.ModeDir | 0o777}
	problems := control.CheckFS(fsys, "/")
	warned(t, problems, "alias: warning: everybody can write")
	if !problems[0].Fatal || problems[0].File != "queue" {
		t.Errorf("%v", problems)
	}
}

func TestCheckWithoutHome(t *testing.T) {
	if problems := control.Check(t.TempDir() + "/none"); len(problems) != 1 || !problems[0].Fatal {
		t.Errorf("%v", problems)
	}
}
