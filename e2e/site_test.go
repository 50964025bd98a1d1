package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// site is a server whose filters are those of control files.
type site struct {
	*smtpdtest.Server
	t     *testing.T
	log   *bytes.Buffer // classic lines
	taken *smtpdtest.Recorder
}

// newSite starts a server for a home of files, with the variables of its one
// service. XCLIENT is for everybody on loopback, so that clients can come from
// anywhere.
func newSite(t *testing.T, dns control.Resolver, variables string, files map[string]string) *site {
	t.Helper()
	home := fstest.MapFS{
		"control/me":       {Data: []byte("mx.test\n")},
		"control/services": {Data: []byte("smtpd smtp 127.0.0.1:0 " + variables + "\n")},
	}
	for name, text := range files {
		home[name] = &fstest.MapFile{Data: []byte(text)}
	}
	config, err := control.LoadFS(home, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	filters := config.Filters(control.Parts{Resolver: dns, TempDir: t.TempDir()})
	t.Cleanup(func() { filters.Close() })
	profile := config.Services[0].For(control.Client{})
	chain := &filter.Chain{Filters: filters.For(profile), NewSession: func(_ context.Context, s *filter.Session) error {
		s.Relayed, s.CertRelayed, s.Vars = profile.RelayClient, profile.CertRelay, profile.Vars
		return nil
	}}
	s := &site{t: t, log: new(bytes.Buffer), taken: new(smtpdtest.Recorder)}
	s.Server = smtpdtest.NewServer(t, s.taken, func(server *smtpd.Server) {
		server.Policy, server.XCLIENTFrom, server.LooseSyntax = chain, loopback, true
		server.MaxBadCommands = -1
		server.Log = slog.New(smtpd.ClassicLog(s.log, nil))
	})
	return s
}

// hear plays a session to its end, and returns the classic lines that it leaves,
// from the condition on.
func (s *site) hear(talk string) (lines []string) {
	s.t.Helper()
	s.log.Reset()
	s.Talk(s.t, "S: 220*\n"+talk)
	s.Shutdown(s.t.Context())
	for line := range strings.Lines(s.log.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "pid 1 ")
		lines = append(lines, line)
	}
	return lines
}

// lastReply plays commands and returns the reply to the last one.
func (s *site) lastReply(commands []string) (reply string) {
	s.t.Helper()
	c := s.Dial(s.t)
	for _, command := range commands {
		c.Send(command + "\r\n")
		reply = c.Reply()
	}
	c.Close()
	return reply
}
