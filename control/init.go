package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// InitOptions say what [Init] makes.
type InitOptions struct {
	// Host is the address that the services listen at. "": all addresses.
	Host string

	// HighPorts takes ports that need no privileges: 2525 for SMTP, 2587 for
	// submission, 2465 with TLS; 2110 for POP3, 2995 with TLS.
	HighPorts bool

	// Services is the text of control/services. With it there are no rules for
	// connections, and Host and HighPorts do not count. "": all services.
	Services string

	// Postmaster is the address, or the user, that gets the mail of postmaster,
	// mailer-daemon and root. "": it stays in alias/Maildir.
	Postmaster string
}

// Init makes a home for the host with the full name me that can be served from:
// control files, a certificate that is signed by itself, aliases, and the
// directories for users and queue.
//
// It changes nothing that exists, and the error wraps [fs.ErrExist] if there is
// a home already: control/me, which Init writes last. What it was cut off from,
// by an error or a power cut, it goes on with when it is called again.
func Init(home, me string, o InitOptions) error {
	home, err := filepath.Abs(home)
	if err != nil {
		return err
	}
	if !validHost(me) {
		return fmt.Errorf("control: %.80q is no host name", me)
	}
	if strings.ContainsAny(o.Postmaster, "\r\n\x00") || strings.HasPrefix(o.Postmaster, " ") {
		return fmt.Errorf("control: %.80q is no address", o.Postmaster)
	}
	if _, err := os.Lstat(filepath.Join(home, "control", "me")); err == nil {
		return fmt.Errorf("control: %s is a home already: %w", home, fs.ErrExist)
	}
	m := &maker{home: home}
	m.makeHome(me, &o)
	if m.err != nil {
		return fmt.Errorf("control: %w", m.err)
	}
	return nil
}

// maker makes files and directories until there is an error.
type maker struct {
	home string
	err  error
}

func (m *maker) makeHome(me string, o *InitOptions) {
	if m.err = os.MkdirAll(m.home, 0o755); m.err != nil {
		return
	}
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{{"control", 0o755}, {"users", 0o755}, {"alias", 0o755}, {"home", 0o755}, {"ssl", 0o755}, {"queue", 0o711}} {
		m.do(func() error { return makeDir(m.path(dir.name), dir.mode) })
	}
	m.do(func() error { return makeMaildir(m.path("alias/Maildir")) })
	alias := ""
	if o.Postmaster != "" {
		alias = "&" + o.Postmaster + "\n"
	}
	for _, name := range []string{"postmaster", "mailer-daemon", "root"} {
		m.file("alias/.qmail-"+name, alias, 0o644)
	}
	m.file("users/accounts", accountsText, 0o640)
	m.certificate(me)
	m.file("control/locals", me+"\n", 0o644)
	m.file("control/rcpthosts", me+"\n", 0o644)
	if o.Services != "" {
		m.file("control/services", o.Services, 0o644)
	} else {
		m.file("control/rules.smtpd", rulesText, 0o644)
		m.file("control/services", servicesText(o), 0o644)
	}
	for _, dir := range []string{"alias", "users", "ssl", "control", ""} {
		m.do(func() error { return syncDir(m.path(dir)) })
	}
	m.file("control/me", me+"\n", 0o644)
	m.do(func() error { return syncDir(m.path("control")) })
}

func (m *maker) path(name string) string { return filepath.Join(m.home, filepath.FromSlash(name)) }

func (m *maker) do(f func() error) {
	if m.err == nil {
		m.err = f()
	}
}

// file makes a file, whole or not at all, unless it exists.
func (m *maker) file(name, text string, mode fs.FileMode) {
	m.do(func() error {
		path := m.path(name)
		if _, err := os.Lstat(path); err == nil {
			return nil
		}
		temporary, err := os.CreateTemp(filepath.Dir(path), ".init-*.tmp")
		if err != nil {
			return err
		}
		defer os.Remove(temporary.Name())
		err = temporary.Chmod(mode)
		if err == nil {
			_, err = temporary.WriteString(text)
		}
		if err == nil {
			err = temporary.Sync()
		}
		if err = errors.Join(err, temporary.Close()); err != nil {
			return err
		}
		if err := giveToOwnerOf(filepath.Dir(path), temporary.Name()); err != nil {
			return err
		}
		// A link does not replace what has come into being meanwhile.
		if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

const accountsText = `# Users, a line for each: name:home:secret. See "sqmaild user -help".
`

const rulesText = `# Who may connect, and what holds for whom: address:allow|deny[,VARIABLE="value"].
# Only this host relays without authentication.
127.:allow,RELAYCLIENT=""
::1:allow,RELAYCLIENT=""
:allow
`

// servicesText is control/services.
func servicesText(o *InitOptions) string {
	var b strings.Builder
	b.WriteString("# Listeners, a line for each: NAME PROTOCOL ADDRESS [VARIABLE=value...] [rules=FILE]\n")
	for _, s := range []struct {
		name, protocol string
		port, high     int
		rest           string
	}{
		{"smtpd", "smtp", 25, 2525, ` UCSPITLS="" UTF8="" rules=rules.smtpd`},
		{"sub", "submission", 587, 2587, ` UCSPITLS="!" SMTPAUTH="!" UTF8=""`},
		{"smtpsd", "smtps", 465, 2465, ` SMTPAUTH="!" UTF8=""`},
		{"pop3d", "pop3", 110, 2110, ` UCSPITLS="!"`},
		{"pop3sd", "pop3s", 995, 2995, ""},
	} {
		port := s.port
		if o.HighPorts {
			port = s.high
		}
		fmt.Fprintf(&b, "%-7s %-11s %s%s\n", s.name, s.protocol, net.JoinHostPort(o.Host, strconv.Itoa(port)), s.rest)
	}
	return b.String()
}
