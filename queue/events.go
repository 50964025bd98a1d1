package queue

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
)

const maxLogText = 1_000

func (q *Queue) log(level slog.Level, event string, attrs ...slog.Attr) {
	if q.Log != nil {
		q.Log.LogAttrs(context.Background(), level, event, attrs...)
	}
}

func (q *Queue) logs(level slog.Level) bool {
	return q.Log != nil && q.Log.Enabled(context.Background(), level)
}

func (q *Queue) logNew(id ID, env *sqmail.Envelope, size int64) {
	if !q.logs(slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{idAttr(id), slog.Int64("bytes", size), pathAttr("from", env.ReversePath), slog.Int("recipients", len(env.Recipients))}
	if env.Peer != nil {
		attrs = append(attrs, slog.String("session", env.Peer.Session))
	}
	q.log(slog.LevelInfo, "new msg", attrs...)
}

func (q *Queue) logStarting(a *attempt) {
	if !q.logs(slog.LevelInfo) {
		return
	}
	for k := range a.group.recipients {
		q.log(slog.LevelInfo, "starting delivery", a.attrs(k)...)
	}
}

// attrs name a delivery: one recipient in one attempt.
func (a *attempt) attrs(k int) []slog.Attr {
	return []slog.Attr{
		slog.Uint64("delivery", a.number+uint64(k)),
		idAttr(a.job.entry.ID),
		slog.String("channel", a.group.route.Channel),
		slog.String("destination", sanitized(a.group.route.Destination)),
		pathAttr("to", a.group.paths[k]),
	}
}

func (q *Queue) logOutcome(a *attempt, k int, done *Attempt, now time.Time) {
	if !q.logs(slog.LevelInfo) {
		return
	}
	event, o, attrs := "delivery deferral", &done.Outcome, a.attrs(k)
	switch done.Status {
	case Delivered:
		event = "delivery success"
	case Failed:
		event = "delivery failure"
	default:
		attrs = append(attrs, slog.Time("due", done.Due))
	}
	attrs = append(attrs,
		slog.String("where", sanitized(o.Where)),
		slog.Int("code", o.Reply.Code),
		slog.String("reply", sanitized(o.Reply.Text)),
		slog.String("text", sanitized(o.Text)),
		slog.Duration("took", now.Sub(a.started)))
	if o.InDoubt {
		attrs = append(attrs, slog.Bool("in doubt", true))
	}
	if a.err != nil {
		attrs = append(attrs, errAttr(a.err))
	}
	q.log(slog.LevelInfo, event, attrs...)
}

func (q *Queue) logRouting(e *Entry, i int, err error) {
	q.log(slog.LevelWarn, "trouble routing", idAttr(e.ID), pathAttr("to", e.Envelope.Recipients[i].Path),
		slog.String("class", sqmail.ClassOf(err).String()), errAttr(err))
}

func (q *Queue) logRemoved(e *Entry, i int) {
	q.log(slog.LevelInfo, "recipient removed", idAttr(e.ID), pathAttr("to", e.Envelope.Recipients[i].Path))
}

func (q *Queue) logStalled(a *attempt, now time.Time) {
	for k := range a.group.recipients {
		q.log(slog.LevelWarn, "stalled", append(a.attrs(k), slog.Duration("took", now.Sub(a.started)))...)
	}
}

func (q *Queue) logAbandoned(a *attempt, now time.Time) {
	for k := range a.group.recipients {
		q.log(slog.LevelError, "abandoned", append(a.attrs(k), slog.Duration("took", now.Sub(a.started)))...)
	}
}

func (q *Queue) logBounce(r *report, id string) {
	q.log(slog.LevelInfo, "bounce msg", idAttr(r.about.ID), slog.String("bounce", id), slog.String("kind", reportKinds[r.kind]), pathAttr("to", r.to))
}

func (q *Queue) logDiscard(event string, e *Entry) { q.log(slog.LevelWarn, event, idAttr(e.ID)) }

func (q *Queue) logEnd(e *Entry) { q.log(slog.LevelInfo, "end msg", idAttr(e.ID)) }

func (q *Queue) logLost(e *Entry) { q.log(slog.LevelWarn, "lease lost", idAttr(e.ID)) }

// logTrouble logs what the Queue tries again. An id of 0 is no message's.
func (q *Queue) logTrouble(event string, id ID, err error) {
	attrs := []slog.Attr{errAttr(err)}
	if id != 0 {
		attrs = append(attrs, idAttr(id))
	}
	q.log(slog.LevelError, event, attrs...)
}

func (q *Queue) logPanic(who string, p any) {
	q.log(slog.LevelError, "panic", slog.String("in", who), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

func idAttr(id ID) slog.Attr { return slog.Uint64("id", uint64(id)) }

func pathAttr(key string, p sqmail.Path) slog.Attr { return slog.String(key, sanitized(p.String())) }

func errAttr(err error) slog.Attr { return slog.String("err", sanitized(err.Error())) }

// sanitized makes foreign text fit for a log: LF becomes "/", as in qmail's
// log, what else cannot be printed becomes "_", and a long text is cut.
func sanitized(s string) string {
	if len(s) > maxLogText {
		s = strings.ToValidUTF8(s[:maxLogText], "") + "..."
	}
	clean := func(c rune) rune {
		switch {
		case c == '\n':
			return '/'
		case c < ' ', c >= 0x7f && c < 0xa0, c == utf8.RuneError:
			return '_'
		}
		return c
	}
	return strings.Map(clean, s)
}
