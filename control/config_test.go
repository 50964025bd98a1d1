package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sqmail/sqmail/control"
)

func TestDefaults(t *testing.T) {
	c := load(t, nil)
	const me = "mx.example.org"
	got := []any{
		c.Me, c.SMTPGreeting, c.HeloHost, c.LocalIPHost, c.EnvNoAtHost, c.BounceFrom, c.BounceHost, c.DoubleBounceTo, c.DoubleBounceHost,
		c.BounceMaxBytes, c.DefaultDelivery, control.Keys(c.Locals), c.QueueLifetime, c.ConcurrencyLocal, c.ConcurrencyRemote, c.DataBytes,
		c.TimeoutSMTPD, c.TimeoutConnect, c.TimeoutRemote,
	}
	want := []any{
		me, me, me, me, me, "MAILER-DAEMON", me, "postmaster", me,
		int64(0), "./Maildir/", []string{me}, 7 * 24 * time.Hour, 10, 20, int64(0),
		20 * time.Minute, time.Minute, 20 * time.Minute,
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	if len(c.Problems) > 0 {
		t.Errorf("problems %v", c.Problems)
	}
}

func TestValues(t *testing.T) {
	c := load(t, map[string]string{
		"smtpgreeting": "smtp.example.org  at your service\r\nsecond line\n", "helohost": "out.example.org", "localiphost": "lit.example.org \t\n",
		"envnoathost": "bare.example.org", "bouncefrom": "bounces", "bouncehost": "b.example.org", "doublebounceto": "", "doublebouncehost": "d.example.org",
		"bouncemaxbytes": "5000", "defaultdelivery": "|vdelivermail", "queuelifetime": "60s", "concurrencylocal": "0",
		"concurrencyremote": "50 # x", "databytes": "1000\n", "timeoutsmtpd": "0", "timeoutconnect": "-5", "timeoutremote": "abc",
	})
	host, text := c.Greeting()
	got := []any{
		host, text, c.HeloHost, c.LocalIPHost, c.EnvNoAtHost, c.BounceFrom, c.BounceHost, c.DoubleBounceTo, c.DoubleBounceHost, c.BounceMaxBytes,
		c.DefaultDelivery, c.QueueLifetime, c.ConcurrencyLocal, c.ConcurrencyRemote, c.DataBytes, c.TimeoutSMTPD, c.TimeoutConnect, c.TimeoutRemote,
	}
	want := []any{
		"smtp.example.org", "at your service", "out.example.org", "lit.example.org", "bare.example.org", "bounces", "b.example.org", "", "d.example.org", int64(5000),
		"|vdelivermail", time.Minute, 0, 50, int64(1000), time.Second, time.Minute, 20 * time.Minute,
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("value %d is %v, want %v", i, got[i], want[i])
		}
	}
	for _, want := range []string{
		"control/queuelifetime:1: warning: what follows the number 60", "control/concurrencyremote:1: warning: what follows the number 50",
		"control/timeoutconnect:1: warning: \"-5\" is no number", "control/timeoutremote:1: warning: \"abc\" is no number",
		"control: warning: a concurrency of 0",
	} {
		warned(t, c.Problems, want)
	}
}

func TestValuesThatAreRefused(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"me", absent, "control/me: does not exist"},
		{"me", "", "control/me:1: \"\" is no host name"},
		{"me", "# mx", "control/me:1:"},
		{"helohost", "# mx", "control/helohost:1: \"# mx\" is no host name"},
		{"smtpgreeting", "", "control/smtpgreeting:1:"},
		{"smtpgreeting", "mx.example.org \x01", "control/smtpgreeting:1:"},
		{"localiphost", "", "control/localiphost:1:"},
		{"envnoathost", "a b", "control/envnoathost:1:"},
		{"bouncehost", "-a", "control/bouncehost:1:"},
		{"bouncefrom", "", "control/bouncefrom:1:"},
		{"defaultdelivery", "", "control/defaultdelivery:1:"},
		{"queuelifetime", "2147483648", "control/queuelifetime:1:"},
		{"databytes", "99999999999999999999999", "control/databytes:1:"},
		{"concurrencyremote", "100001", "control/concurrencyremote:1:"},
		{"smtproutes", "a.example:relay;0", "control/smtproutes:1:"},
		{"smtproutes", "# x\na.example:relay;x", "control/smtproutes:2:"},
		{"qmtproutes", "a.example:a b", "control/qmtproutes:1:"},
		{"authsenders", "a.example:relay;99999", "control/authsenders:1:"},
		{"users/accounts", "joe::=x\noops\n", "users/accounts:2:"},
		{"users/assign", "=joe:joe:1:1:/home/joe:::\n", "users/assign: has no line with a dot"},
		{"users/cdb", "x", "users/cdb: cannot be read: it is no cdb"},
		{"users/assign.cdb", "x", "users/assign.cdb: cannot be read: it is no cdb"},
		{"morercpthosts.cdb", "x", "control/morercpthosts.cdb: cannot be read: it is no cdb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refuse(t, home(map[string]string{tt.name: tt.text}), tt.want) })
	}
}

// Unreadable is not missing.
func TestFilesThatCannotBeReadAreNeverTheirDefaults(t *testing.T) {
	names := []string{
		"me", "smtpgreeting", "helohost", "locals", "rcpthosts", "morercpthosts", "virtualdomains", "percenthack", "envnoathost", "smtproutes",
		"qmtproutes", "authsenders", "queuelifetime", "concurrencylocal", "concurrencyremote", "databytes", "timeoutsmtpd", "timeoutremote",
		"timeoutconnect", "bouncefrom", "bouncehost", "bouncemaxbytes", "doublebounceto", "doublebouncehost", "localiphost", "defaultdelivery",
		"badmailfrom", "badrcptto", "services",
	}
	for _, name := range names {
		file := "control/" + name
		t.Run(name, func(t *testing.T) {
			refuse(t, unreadable{home(nil), file}, file+": cannot be read: permission denied")
			directory := home(map[string]string{name: absent})
			directory[file] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
			refuse(t, directory, file+": cannot be read: it is not a regular file")
		})
	}
	for _, file := range []string{"users/accounts", "users/assign"} {
		t.Run(file, func(t *testing.T) { refuse(t, unreadable{home(nil), file}, file+": cannot be read") })
	}
}

func TestHostNamesWithoutMe(t *testing.T) {
	c := load(t, map[string]string{"me": absent, "smtpgreeting": "mx.example.org", "helohost": "mx.example.org", "localiphost": "mx.example.org", "locals": "example.org"})
	if c.BounceHost != "bouncehost" || c.EnvNoAtHost != "envnoathost" || c.DoubleBounceHost != "doublebouncehost" {
		t.Errorf("%q %q %q", c.BounceHost, c.EnvNoAtHost, c.DoubleBounceHost)
	}
	warned(t, c.Problems, "control/me: warning: does not exist")
}

func TestErrorTellsEverythingThatIsFatal(t *testing.T) {
	var routes strings.Builder
	for i := range 100 {
		fmt.Fprintf(&routes, "d%d:relay;0\n", i)
	}
	_, err := control.LoadFS(home(map[string]string{"me": "", "helohost": "", "smtproutes": routes.String()}), "/")
	var e *control.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 11 || !strings.HasSuffix(err.Error(), "more") {
		t.Errorf("%d lines: %v", n, err)
	}
	for _, p := range e.Problems {
		if !p.Fatal || p.File == "" || p.Line == 0 {
			t.Errorf("%+v", p)
		}
	}
}

func TestSecretsThatEverybodyCanReadAreWarnedOf(t *testing.T) {
	fsys := home(map[string]string{"authsenders": "a:b|u|p", "smtproutes": "a:b|u|p", "qmtproutes": "a:b", "users/accounts": "joe::=x\n"})
	for _, f := range fsys {
		f.Mode = 0o644
	}
	fsys["control/locals"] = &fstest.MapFile{Mode: 0o666}
	c, err := control.LoadFS(fsys, "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"control/authsenders", "control/smtproutes", "users/accounts"} {
		warned(t, c.Problems, file+": warning: everybody can read")
	}
	warned(t, c.Problems, "control/locals: warning: everybody can write")
	if len(c.Problems) != 4 {
		t.Errorf("%v", c.Problems)
	}
	fsys["control/smtproutes"].Data = []byte("a:b")
	if c, _ := control.LoadFS(fsys, "/"); len(c.Problems) != 3 {
		t.Errorf("routes without passwords: %v", c.Problems)
	}
}
