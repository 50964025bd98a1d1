package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// dsn is a multipart/report taken apart.
type dsn struct {
	subject    string
	types      []string
	words      string
	message    textproto.MIMEHeader
	recipients []textproto.MIMEHeader
	returned   string
}

func parseDSN(t *testing.T, text string) (d dsn) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d.subject = m.Header.Get("Subject")
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("not a report: %v %v %v", kind, params, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	var bodies []string
	for {
		p, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		d.types = append(d.types, p.Header.Get("Content-Type"))
		bodies = append(bodies, string(b))
	}
	if len(bodies) != 3 {
		t.Fatalf("%d parts", len(bodies))
	}
	d.words, d.returned = bodies[0], bodies[2]
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(bodies[1] + "\n")))
	for {
		h, err := r.ReadMIMEHeader()
		switch {
		case len(h) == 0:
			return d
		case d.message == nil:
			d.message = h
		default:
			d.recipients = append(d.recipients, h)
		}
		if err != nil {
			return d
		}
	}
}

func asDSN(b *box) func(*queue.Queue) {
	return func(q *queue.Queue) {
		q.Bounces = queue.Bounces{Host: "mail.example.org", Format: queue.DSN, Receiver: b}
	}
}

// Who is told what, by NOTIFY and what happened (RFC 3461, 4.1).
func TestNotify(t *testing.T) {
	const (
		never   = sqmail.NotifyNever
		success = sqmail.NotifySuccess
		failure = sqmail.NotifyFailure
		delay   = sqmail.NotifyDelay
	)
	passedOn := accepted
	passedOn.Notifies = true
	tests := []struct {
		notify  sqmail.Notify
		outcome sqmail.Outcome
		want    string // the actions reported
	}{
		{0, accepted, ""},
		{0, rejected, "failed"},
		{0, greylist, "failed"},
		{never, accepted, ""},
		{never, rejected, ""},
		{never, greylist, ""},
		{success, accepted, "relayed"},
		{success, passedOn, ""},
		{success, rejected, ""},
		{success, greylist, ""},
		{failure, accepted, ""},
		{failure, rejected, "failed"},
		{failure, greylist, "failed"},
		{delay, accepted, ""},
		{delay, rejected, ""},
		{delay, greylist, "delayed"},
		{success | failure, accepted, "relayed"},
		{success | failure, rejected, "failed"},
		{failure | delay, greylist, "delayed failed"},
		{success | failure | delay, accepted, "relayed"},
		{success | failure | delay, greylist, "delayed failed"},
		{never | success | delay, greylist, ""}, // no server lets it in
	}
	for _, null := range []bool{false, true} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("notify=%d %v null=%v", tt.notify, tt.outcome.Class, null), func(t *testing.T) {
				var b box
				inTime(t, always(tt.outcome), asDSN(&b), func(w *world) {
					env, want := envelope("s@x.test", "a@b.test"), tt.want
					env.Recipients[0].Notify = tt.notify
					if null {
						env.ReversePath = sqmail.Path{}
						if !strings.HasSuffix(want, "failed") {
							want = ""
						} else {
							want = "failed" // the double bounce
						}
					}
					w.send(env, original)
					time.Sleep(8 * 24 * time.Hour)
					w.wantEmpty()
					var got []string
					for _, text := range b.messages() {
						for _, r := range parseDSN(t, text).recipients {
							got = append(got, r.Get("Action"))
						}
					}
					if strings.Join(got, " ") != want {
						t.Errorf("reports %q, want %q", got, want)
					}
				})
			})
		}
	}
}

func TestDSNSaysWhatHappened(t *testing.T) {
	var b box
	deliver := func(_ context.Context, m *sqmail.Message) (all []sqmail.Outcome, _ error) {
		for i, r := range m.Envelope.Recipients {
			o := rejected
			o.Where = "mx.b.test [192.0.2.1]"
			if r.Path.Local == "good" {
				o = accepted
			}
			o.Recipient = i
			all = append(all, o)
		}
		return all, nil
	}
	inTime(t, deliver, func(q *queue.Queue) {
		asDSN(&b)(q)
		time.Sleep(time.Until(exampleTime))
	}, func(w *world) {
		env := envelope("s@x.test", "bad@b.test", "good@b.test", "quiet@b.test")
		env.EnvelopeID = "QQ314159\nX: y"
		env.Recipients[0].Original = "rfc822;Bad@Old.test"
		env.Recipients[1].Notify = sqmail.NotifySuccess
		env.Recipients[2].Notify = sqmail.NotifyNever
		w.send(env, original)
		w.wantEmpty()
		b.want(t, 1)
		d := parseDSN(t, b.messages()[0])
		if d.message.Get("Original-Envelope-Id") != "QQ314159 X: y" || d.message.Get("Reporting-Mta") != "dns; mail.example.org" ||
			d.message.Get("Arrival-Date") != "20 Nov 2026 12:26:24 -0000" {
			t.Errorf("per message: %v", d.message)
		}
		if len(d.recipients) != 2 {
			t.Fatalf("%d recipients, want 2: %v", len(d.recipients), d.recipients)
		}
		want := map[string]string{
			"Original-Recipient": "rfc822;Bad@Old.test",
			"Final-Recipient":    "rfc822; bad@b.test",
			"Action":             "failed",
			"Status":             "5.1.1",
			"Remote-Mta":         "dns; mx.b.test",
			"Diagnostic-Code":    "smtp; 550 5.1.1 no such user",
			"Last-Attempt-Date":  "20 Nov 2026 12:26:24 -0000",
		}
		for key, value := range want {
			if got := d.recipients[0].Get(key); got != value {
				t.Errorf("%s: %q, want %q", key, got, value)
			}
		}
		if r := d.recipients[1]; r.Get("Action") != "relayed" || r.Get("Status") != "2.0.0" {
			t.Errorf("success: %v", r)
		}
		if d.returned != original || d.types[2] != "message/rfc822" || !strings.Contains(d.words, "<bad@b.test>:\nno such user\n") {
			t.Errorf("returned %q as %v with %q", d.returned, d.types, d.words)
		}
	})
}

func TestDSNReturnsWhatWasAskedFor(t *testing.T) {
	tests := []struct {
		name     string
		ret      sqmail.Return
		utf8     bool
		outcome  sqmail.Outcome
		notify   sqmail.Notify
		wantType string
		wantFull bool
	}{
		{"failure", "", false, rejected, 0, "message/rfc822", true},
		{"failure, full", sqmail.ReturnFull, false, rejected, 0, "message/rfc822", true},
		{"failure, header", sqmail.ReturnHeaders, false, rejected, 0, "text/rfc822-headers", false},
		{"success", sqmail.ReturnFull, false, accepted, sqmail.NotifySuccess, "text/rfc822-headers", false},
		{"failure, UTF-8", "", true, rejected, 0, "message/global", true},
		{"failure, UTF-8, header", sqmail.ReturnHeaders, true, rejected, 0, "message/global-headers", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			inTime(t, always(tt.outcome), asDSN(&b), func(w *world) {
				env := envelope("s@x.test", "jörg@b.test")
				env.Return, env.SMTPUTF8, env.Recipients[0].Notify = tt.ret, tt.utf8, tt.notify
				w.send(env, original)
				w.wantEmpty()
				b.want(t, 1)
				d := parseDSN(t, b.messages()[0])
				if d.types[2] != tt.wantType || strings.HasSuffix(d.returned, "\nbody\n") != tt.wantFull {
					t.Errorf("returned %q as %v", d.returned, d.types)
				}
				if got := d.recipients[0].Get("Final-Recipient"); got != "utf-8; jörg@b.test" {
					t.Errorf("final recipient %q", got)
				}
				if b.envs[0].SMTPUTF8 != tt.utf8 {
					t.Errorf("the report has SMTPUTF8=%v", b.envs[0].SMTPUTF8)
				}
			})
		})
	}
}

func TestDelayIsReportedOnce(t *testing.T) {
	tests := []struct {
		name    string
		outcome sqmail.Outcome
		other   int // other messages that are in the way
	}{
		{"deferred", greylist, 0},
		{"waiting for a dead destination", noAnswer, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			inTime(t, always(tt.outcome), asDSN(&b), func(w *world) {
				for range tt.other {
					w.send(envelope("s@x.test", "other@b.test"), "x\n")
				}
				env := envelope("s@x.test", "a@b.test", "c@b.test")
				env.Recipients[0].Notify = sqmail.NotifyDelay
				w.send(env, original)
				time.Sleep(4*time.Hour - time.Second)
				b.want(t, 0)
				time.Sleep(2 * time.Second)
				b.want(t, 1)
				d := parseDSN(t, b.messages()[0])
				if len(d.recipients) != 1 || d.recipients[0].Get("Action") != "delayed" || d.recipients[0].Get("Will-Retry-Until") == "" ||
					!strings.HasPrefix(d.recipients[0].Get("Status"), "4.") {
					t.Errorf("report: %v", d.recipients)
				}
				time.Sleep(6 * 24 * time.Hour)
				b.want(t, 1)
			})
		})
	}
}

func TestDelayReportThatFailsIsTriedAgain(t *testing.T) {
	b := box{err: errPlain}
	inTime(t, always(greylist), asDSN(&b), func(w *world) {
		env := envelope("s@x.test", "a@b.test")
		env.Recipients[0].Notify = sqmail.NotifyDelay
		w.send(env, original)
		time.Sleep(4*time.Hour + time.Second)
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		time.Sleep(3 * time.Minute)
		b.want(t, 1)
		time.Sleep(24 * time.Hour)
		b.want(t, 1)
	})
}

// A report is 7-bit only if all that stands in it is: a host may say what it
// likes, in any character set.
func TestReportsSayWhatTheyAreMadeOf(t *testing.T) {
	tests := []struct {
		name string
		said string
		utf8 bool
		body sqmail.BodyKind
		want sqmail.BodyKind
		code string
	}{
		{"ASCII", "no such user", false, sqmail.Body7Bit, sqmail.Body7Bit, "smtp; 550 no such user"},
		{"8-bit message", "no such user", false, sqmail.Body8Bit, sqmail.Body8Bit, "smtp; 550 no such user"},
		{"UTF-8 reply", "unbekannter Empf\u00e4nger", false, sqmail.Body7Bit, sqmail.Body8Bit, "smtp; 550 unbekannter Empf?nger"},
		{"UTF-8 reply, UTF-8 message", "Empf\u00e4nger", true, sqmail.Body7Bit, sqmail.Body8Bit, "smtp; 550 Empf\u00e4nger"},
		{"Latin-1 reply", "Empf\xe4nger", false, sqmail.Body7Bit, sqmail.Body8Bit, "smtp; 550 Empf?nger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			o := sqmail.Outcome{Class: sqmail.Rejection, Text: tt.said + "\n", Reply: sqmail.Reply{Code: 550, Text: tt.said}}
			inTime(t, always(o), asDSN(&b), func(w *world) {
				env := envelope("s@x.test", "a@b.test")
				env.Body, env.SMTPUTF8 = tt.body, tt.utf8
				w.send(env, original)
				w.wantEmpty()
				text := b.messages()[0]
				if got := parseDSN(t, text).recipients[0].Get("Diagnostic-Code"); got != tt.code {
					t.Errorf("Diagnostic-Code: %s, want %s", got, tt.code)
				}
				marks, want := strings.Count(text, "\nContent-Transfer-Encoding: 8bit\n"), 0
				if tt.want == sqmail.Body8Bit {
					want = 4 // the whole and its three parts
				}
				if b.envs[0].Body != tt.want || marks != want || !utf8.ValidString(text) {
					t.Errorf("BODY=%s, %d marks, want %d\n%q", b.envs[0].Body, marks, want, text)
				}
			})
		})
	}
}

// RET=HDRS is kept to in both formats, and MaxBytes bounds a header, too.
func TestOnlyTheHeaderIsReturnedIfTheSenderWantsThat(t *testing.T) {
	const cut = "\n\n--- Rest of message truncated.\n"
	for _, tt := range []struct {
		format queue.Format
		most   int64
		end    string
	}{
		{queue.QSBMF, 0, "\nSubject: hi\n" + cut},
		{queue.QSBMF, 12, "\nReceived: (q" + cut},
		{queue.DSN, 0, "\nSubject: hi\n"},
		{queue.DSN, 12, "\nReceived: (q"},
	} {
		var b box
		inTime(t, always(rejected), func(q *queue.Queue) {
			q.Bounces.Receiver, q.Bounces.Format, q.Bounces.MaxBytes = &b, tt.format, tt.most
		}, func(w *world) {
			env := envelope("s@x.test", "a@b.test")
			env.Return = sqmail.ReturnHeaders
			w.send(env, original)
			w.wantEmpty()
			text := b.messages()[0]
			if tt.format == queue.DSN {
				text = text[:strings.LastIndex(text, "\n--=_")]
			}
			if !strings.HasSuffix(text, tt.end) {
				t.Errorf("format %d, at most %d: %q", tt.format, tt.most, text)
			}
		})
	}
}
