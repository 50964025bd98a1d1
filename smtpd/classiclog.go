package smtpd

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// ClassicLog returns a Handler for Server.Log that writes, for each recipient
// that is taken and for each refusal, the line that qmail-smtpd writes and log
// analysers read:
//
//	qmail-smtpd: pid 7 Reject::RCPT::Failed_Rcptto P:ESMTP S:192.0.2.9:unknown H:foo F:a@example.org T:b@example.com
//
// In place of a process it has the number of the session. Each line is one
// Write; what clients chose holds neither control characters nor blanks or
// quotes, but "?" for them. Events without such a line are dropped. If next is
// not nil it gets all events, those with a line too, at the levels that it
// enables; next is all that the attributes and groups of a Logger are for.
//
// Errors of w are returned, which a Logger ignores.
func ClassicLog(w io.Writer, next slog.Handler) slog.Handler {
	if next == nil {
		next = slog.DiscardHandler
	}
	return &classicLog{w: w, mu: new(sync.Mutex), next: next}
}

type classicLog struct {
	w    io.Writer
	mu   *sync.Mutex
	next slog.Handler
}

// Enabled wants recipients that are taken, which are told at LevelDebug.
func (h *classicLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelDebug || h.next.Enabled(ctx, level)
}

func (h *classicLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &classicLog{h.w, h.mu, h.next.WithAttrs(attrs)}
}

func (h *classicLog) WithGroup(name string) slog.Handler {
	return &classicLog{h.w, h.mu, h.next.WithGroup(name)}
}

func (h *classicLog) Handle(ctx context.Context, r slog.Record) error {
	var err error
	if line := classicLine(r); line != nil {
		h.mu.Lock()
		_, err = h.w.Write(line)
		h.mu.Unlock()
	}
	if h.next.Enabled(ctx, r.Level) {
		if e := h.next.Handle(ctx, r); e != nil {
			err = e
		}
	}
	return err
}

// classicWords are the first word of the line, by event.
var classicWords = map[string]string{
	"recipient accepted":     "Accept",
	"refused":                "Reject",
	"authentication refused": "Reject",
}

// classicLine returns the line for an event; nil if it has none. Spec:
// smtpd.md, 9.1.
func classicLine(r slog.Record) []byte {
	action := classicWords[r.Message]
	if action == "" {
		return nil
	}
	a := make(map[string]string, 16)
	r.Attrs(func(attr slog.Attr) bool {
		a[attr.Key] = attr.Value.String()
		return true
	})
	name := a["condition"]
	if name == "" {
		return nil
	}
	if name == "SNDR::Grey_Listed" {
		action = "Deferred"
	}
	remote := a["remote"]
	if remote == "" || strings.Contains(remote, " ") { // invalid IP
		remote = "unknown"
	}
	b := make([]byte, 0, 256)
	b = append(b, "qmail-smtpd: pid "...)
	b = strconv.AppendUint(b, sessionNumber(a["session"]), 10)
	b = append(b, ' ')
	b = append(b, action...)
	b = appendField(b, "::", name)
	b = appendField(b, " P:", a["protocol"])
	b = appendField(b, " S:", remote)
	b = appendField(b, ":", orDefault(a["host"], "unknown"))
	b = appendField(b, " H:", a["hello"])
	user := r.Message == "authentication refused"
	if !user && name != "TLS::missing" && name != "AUTH::missing" {
		b = appendField(b, " F:", a["from"])
		b = appendField(b, " T:", a["to"])
	}
	switch {
	case user, action == "Accept" && strings.HasPrefix(name, "AUTH::"):
		b = append(appendField(b, " ?~ '", orDefault(a["user"], "none")), '\'')
	case a["info"] == avScanner:
		b = append(b, " '"+avScanner+"'"...)
	case a["info"] != "":
		b = append(appendField(b, " '", a["info"]), '\'')
	}
	return append(b, '\n')
}

// appendField appends a text in which nothing can be taken for an end of the
// field, or of the line.
func appendField(b []byte, before, text string) []byte {
	b = append(b, before...)
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c == 0x7f || c == '\'' || c == '"' {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// sessionNumber is the number of a session in the life of its server: what
// stands behind the last dot of its name.
func sessionNumber(name string) uint64 {
	n, _ := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 36, 64)
	return n
}
