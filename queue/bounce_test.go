package queue_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// original is the worked example of spec/queue.md 9.
const original = "Received: (qmail 2792 invoked by uid 0); 20 Nov 2026 12:26:24 -0000\nSubject: hi\n\nbody\n"

// Virtual time begins in 2000; the example was made later.
var exampleTime = time.Date(2026, 11, 20, 12, 26, 24, 0, time.UTC)

func byRecipient(texts map[string]string) queue.DelivererFunc {
	return func(_ context.Context, m *sqmail.Message) (all []sqmail.Outcome, _ error) {
		for i, r := range m.Envelope.Recipients {
			all = append(all, sqmail.Outcome{Recipient: i, Class: sqmail.Rejection, Text: texts[r.Path.Unquoted()]})
		}
		return all, nil
	}
}

// virtual shows z@v.org for vu-z@v.org, as a virtual domain does.
type virtual struct{}

func (virtual) Route(_ context.Context, _ *sqmail.Envelope, to sqmail.Path) (sqmail.Routing, error) {
	r := sqmail.Routing{Route: sqmail.Route{Channel: "local"}, Deliver: to, Display: to}
	r.Display.Local = strings.TrimPrefix(to.Local, "vu-")
	return r, nil
}

func TestBounceIsQmailsByteForByte(t *testing.T) {
	tests := []struct {
		file    string
		env     *sqmail.Envelope
		texts   map[string]string
		bounces queue.Bounces
	}{
		{"single", envelope("s@x.y", "vu-z@v.org", "r@r.net"), map[string]string{
			"vu-z@v.org": "no such\n\nuser\n\n\n", "r@r.net": "1.2.3.4 failed\n"}, queue.Bounces{}},
		{"double", envelope("", "s@x.y"), map[string]string{"s@x.y": "no such user\n"}, queue.Bounces{}},
		{"verp", envelope("list-owner-@l.org-@[]", "r@r.net"), map[string]string{"r@r.net": "no such user\n"}, queue.Bounces{}},
		{"quoting", envelope("a..b@x.y", "odd\nline@r.net"), map[string]string{"odd\nline@r.net": "no such user"},
			queue.Bounces{From: "mailer daemon", Host: "b.h"}},
		{"truncated", envelope("s@x.y", "r@r.net"), nil, queue.Bounces{MaxBytes: 32}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", "bounce", tt.file+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			var b box
			inTime(t, byRecipient(tt.texts), func(q *queue.Queue) {
				q.Bounces, q.Router = tt.bounces, virtual{}
				if q.Bounces.Host == "" {
					q.Bounces.Host = "mail.example.org"
				}
				q.Bounces.Receiver = &b
				time.Sleep(time.Until(exampleTime))
			}, func(w *world) {
				w.send(tt.env, original)
				w.wantEmpty()
				b.want(t, 1)
				if got := b.messages()[0]; got != string(want) {
					t.Errorf("bounce is\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

func TestDoubleAndTripleBounces(t *testing.T) {
	tests := []struct {
		name    string
		from    string
		bounces queue.Bounces
		wantTo  string // "" none
		wantBy  string
	}{
		{"single", "s@x.test", queue.Bounces{}, "s@x.test", ""},
		{"double", "", queue.Bounces{}, "postmaster@bouncehost", "#@[]"},
		{"double to", "", queue.Bounces{DoubleTo: sqmail.PathOf("pm@d.test")}, "pm@d.test", "#@[]"},
		{"double dropped", "", queue.Bounces{DropDouble: true}, "", ""},
		{"triple", "#@[]", queue.Bounces{}, "", ""},
		{"verp", "l-@x.test-@[]", queue.Bounces{}, "l-@x.test", ""},
		{"no verp", "l-@[]", queue.Bounces{}, "l-@[]", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b box
			inTime(t, always(rejected), func(q *queue.Queue) {
				q.Bounces = tt.bounces
				q.Bounces.Receiver = &b
			}, func(w *world) {
				w.send(envelope(tt.from, "a@b.test"), original)
				w.wantEmpty()
				if tt.wantTo == "" {
					b.want(t, 0)
					return
				}
				b.want(t, 1)
				env := b.envs[0]
				if got := env.Recipients[0].Path.Unquoted(); got != tt.wantTo || env.ReversePath.Unquoted() != tt.wantBy {
					t.Errorf("from %q to %q, want from %q to %q", env.ReversePath.Unquoted(), got, tt.wantBy, tt.wantTo)
				}
			})
		})
	}
}

// Without a Receiver the bounce takes the message's place in the Store, and is
// delivered like everything else. When it bounces it is a double bounce, and
// then that is the end.
func TestBouncesGoThroughTheStore(t *testing.T) {
	inTime(t, always(rejected), nil, func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), original)
		w.wantEmpty()
		var got []string
		for _, c := range w.deliveries() {
			got = append(got, c.from+" > "+strings.Join(c.to, " "))
		}
		want := "s@x.test > a@b.test,  > s@x.test, #@[] > postmaster@mail.example.org"
		if strings.Join(got, ", ") != want {
			t.Errorf("deliveries: %s\nwant %s", strings.Join(got, ", "), want)
		}
		last := w.deliveries()[2].contents
		if !strings.HasPrefix(last, "Received: (qmail 2 invoked for bounce); ") || !strings.HasSuffix(last, original) {
			t.Errorf("double bounce:\n%s", last)
		}
	})
}

// Changed settings hold for the next report, also of mail that is queued.
func TestBounceSettingsMayChange(t *testing.T) {
	var old, b box
	inTime(t, always(rejected), bouncing(&old), func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), original)
		w.wantEmpty()
		w.SetBounces(queue.Bounces{Host: "new.example.org", From: "postman", DoubleTo: sqmail.PathOf("pm@d.test"), Receiver: &b})
		w.send(envelope("", "a@b.test"), original)
		w.wantEmpty()
		old.want(t, 1)
		b.want(t, 1)
		if to, text := b.envs[0].Recipients[0].Path.String(), b.messages()[0]; to != "pm@d.test" || !strings.Contains(text, "\nFrom: postman@new.example.org\n") {
			t.Errorf("to %s:\n%s", to, text)
		}
	})
}

func TestBounceIsTriedUntilItIsTaken(t *testing.T) {
	b := box{err: errPlain}
	inTime(t, always(rejected), bouncing(&b), func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), original)
		time.Sleep(30 * 24 * time.Hour)
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		time.Sleep(123 * time.Second)
		w.wantEmpty()
		b.want(t, 1)
		if n := len(w.deliveries()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestBounceThatItsReceiverRejectsGoesToTheStore(t *testing.T) {
	b := box{err: &sqmail.Error{Class: sqmail.Rejection}}
	deliver := func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
		if m.Route.Destination == "b.test" {
			return outcomes(m, rejected)
		}
		return outcomes(m, accepted)
	}
	inTime(t, deliver, bouncing(&b), func(w *world) {
		w.send(envelope("s@x.test", "a@b.test"), original)
		w.wantEmpty()
		if n := len(w.deliveries()); n != 2 {
			t.Errorf("%d deliveries, want the message's and the bounce's", n)
		}
	})
}

// damagedStore's messages cannot be read to the end.
type damagedStore struct{ queue.Store }

func (s damagedStore) Lease(ctx context.Context, ttl time.Duration) (queue.Lease, error) {
	l, err := s.Store.Lease(ctx, ttl)
	return damagedLease{l}, err
}

type damagedLease struct{ queue.Lease }

func (damagedLease) Content() io.ReaderAt { return damaged{} }

type damaged struct{}

func (damaged) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errors.New("input/output error")
	}
	return copy(p, "Subject"), errors.New("input/output error")
}

func TestDamagedMessageIsBouncedWithoutItsContent(t *testing.T) {
	var b box
	synctest.Test(t, func(t *testing.T) {
		q := &queue.Queue{Store: damagedStore{newStore()}, Deliverer: always(rejected), Bounces: queue.Bounces{Receiver: &b}}
		go q.Run(t.Context())
		if _, err := q.Receive(t.Context(), envelope("s@x.test", "a@b.test"), strings.NewReader(original)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.want(t, 1)
		if !strings.HasSuffix(b.messages()[0], "Subject\n\n--- Rest of message unreadable.\n") {
			t.Errorf("bounce:\n%s", b.messages()[0])
		}
		q.Shutdown(t.Context())
	})
}
