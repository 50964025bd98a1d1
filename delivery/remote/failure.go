package remote

import (
	"errors"

	"github.com/sqmail/sqmail"
)

// A failure ends an attempt for all recipients that are not decided yet. Its
// text is the report's (spec/remote.md 3, 4, 6, 8); with a reply the report
// goes on with what the peer said.
type failure struct {
	class   sqmail.Class // Deferral or Rejection
	text    string
	reply   reply
	where   string
	err     error // the cause, for the log
	inDoubt bool

	next     bool // another address may do better
	greeting bool // the peer greeted with a 5yz
	retry    bool // the connection was used before, and dead: take a new one
	dead     bool // the address did not take a connection
	clear    bool // TLS was worth a try and failed: go on without
}

// Error makes a failure an error.
func (f *failure) Error() string { return f.text }

// report returns the text of an outcome.
func (f *failure) report() string {
	if f.reply.code == 0 {
		return f.text + "\n"
	}
	return f.text + ".\nRemote host said: " + f.reply.text + "\n"
}

func deferral(text string) *failure { return &failure{text: text} }

func rejection(text string) *failure { return &failure{class: sqmail.Rejection, text: text} }

// What the DNS and this host have to say.

func lookupFailed(host string) *failure {
	return deferral("Sorry, I couldn't find any host named: " + visible(host) + ". (#4.1.2)")
}

func noSuchHost(host string) *failure {
	return rejection("Sorry, I couldn't find any host named " + visible(host) + ". (#5.1.2)")
}

func noAddress() *failure {
	return rejection("Sorry, I couldn't find a mail exchanger or IP address. (#5.4.4)")
}

func nullMX(host string) *failure {
	return rejection("Sorry, " + visible(host) + " does not accept mail (null MX). (#5.1.10)")
}

func loops() *failure {
	return rejection("Sorry. Although I'm listed as a best-preference MX or A for that host,\n" +
		"it isn't in my control/locals file, so I don't treat it as local. (#5.4.6)")
}

func noConnection() *failure {
	return deferral("Sorry, I wasn't able to establish an SMTP connection. (#4.4.1)")
}

func noResources(err error) *failure {
	return &failure{text: "System resources temporarily unavailable. (#4.3.0)", err: err}
}

func cannotBind(ip string, err error) *failure {
	return &failure{text: "Can't bind to local ip address: " + ip + ". (#4.3.0)", err: err}
}

func unreadable(err error) *failure {
	return &failure{text: "Unable to read message. (#4.3.0)", err: err}
}

func misconfigured(err error) *failure {
	return said(err, deferral("Unable to read control files. (#4.3.0)"))
}

// said makes a deferral in the words of an error that has some for the outside
// (see sqmail.Error), else in those given.
func said(err error, otherwise *failure) *failure {
	otherwise.err = err
	e, ok := errors.AsType[*sqmail.Error](err)
	if !ok || e.Reply.Text == "" {
		return otherwise
	}
	otherwise.text = e.Reply.Text
	if e.Reply.Enhanced[0] == 4 {
		otherwise.text += " (#" + e.Reply.Enhanced.String() + ")"
	}
	return otherwise
}

// visible returns text from a message or a configuration as reports show it.
func visible(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < 33 || c > 126 {
			b[i] = '?'
		}
	}
	return string(b)
}
