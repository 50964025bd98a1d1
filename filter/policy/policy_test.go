package policy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/policy"
)

func Example() {
	server := &server{answer: func(string) string { return "action=DEFER_IF_PERMIT wait\n\n" }}
	client := &policy.Client{Address: "127.0.0.1:60000", Dialer: server}
	defer client.Close()
	f := &policy.Postgrey{Client: client}
	v, err := f.Recipient(context.Background(), session(), recipient)
	fmt.Println(v.Reply, err)
	// Output: 450 4.7.1 greylisted, please try again later <nil>
}

// server is a policy server behind connections in memory.
type server struct {
	answer func(request string) string // "": close instead; "hang": say nothing
	once   bool                        // close behind each answer

	mu       sync.Mutex
	requests []string
	dials    int
	refuse   bool
}

func (s *server) DialContext(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	go s.serve(ours)
	return theirs, nil
}

func (s *server) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		var request strings.Builder
		for line := ""; line != "\n"; {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
			request.WriteString(line)
		}
		s.mu.Lock()
		s.requests = append(s.requests, request.String())
		s.mu.Unlock()
		switch answer := s.answer(request.String()); answer {
		case "":
			return
		case "hang":
			io.Copy(io.Discard, r)
			return
		default:
			if _, err := io.WriteString(c, answer); err != nil || s.once {
				return
			}
		}
	}
}

var recipient = &sqmail.Recipient{Path: sqmail.PathOf("b@example.org")}

func session() *filter.Session {
	return &filter.Session{
		Peer:     &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.7:25"), Name: "mail.example.org"},
		Envelope: &sqmail.Envelope{ReversePath: sqmail.PathOf("a@example.org")},
	}
}

func always(answer string) func(string) string { return func(string) string { return answer } }

func TestRequest(t *testing.T) {
	s := &server{answer: always("action=DUNNO\n\n")}
	f := &policy.Postgrey{Client: &policy.Client{Dialer: s}}
	defer f.Client.Close()
	if _, err := f.Recipient(t.Context(), session(), recipient); err != nil {
		t.Fatal(err)
	}
	// filter.md, 8
	want := "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\n" +
		"client_name=mail.example.org\nsender=a@example.org\nrecipient=b@example.org\n\n"
	if len(s.requests) != 1 || s.requests[0] != want {
		t.Errorf("%q", s.requests)
	}
}

func TestLineEndsDoNotReachTheServer(t *testing.T) {
	s := &server{answer: always("action=DUNNO\n\n")}
	c := &policy.Client{Dialer: s}
	defer c.Close()
	if _, err := c.Ask(t.Context(), []policy.Attribute{{Name: "sender", Value: "a\r\n\nrecipient=x\x00"}}); err != nil {
		t.Fatal(err)
	}
	if s.requests[0] != "sender=arecipient=x\n\n" {
		t.Errorf("%q", s.requests)
	}
	if _, err := c.Ask(t.Context(), []policy.Attribute{{Name: "sender", Value: strings.Repeat("x", 1<<20)}}); err != nil {
		t.Fatal(err)
	}
	if n := len(s.requests[1]); n > 4096 {
		t.Errorf("%d octets", n)
	}
}

func TestAnswers(t *testing.T) {
	for answer, want := range map[string]int{
		"action=DUNNO\n\n":     250,
		"action=dunno\r\n\r\n": 250,
		"action=PREPEND X-Greylist: delayed 300 seconds\n\n": 250,
		"action=OK\n\n":                         250,
		"action=DEFER_IF_PERMIT Greylisted\n\n": 450,
		"action=defer_if_permit\n\n":            450,
		"action=DEFER later\n\n":                450,
		"action=450 4.7.1 later\n\n":            450,
		"action=421\n\n":                        450,
		"other=1\naction=DEFER\nmore=2\n\n":     450,
		"action=DUNNO\naction=DEFER\n\n":        250,
		"action=REJECT\n\n":                     250,
		"action=554 no\n\n":                     250,
		// What is no answer lets mail in.
		"\n":                                250,
		"nonsense\n\n":                      250,
		strings.Repeat("x=1\n", 2000):       250,
		strings.Repeat("x", 10000) + "\n\n": 250,
		"":                                  250,
	} {
		s := &server{answer: always(answer)}
		f := &policy.Postgrey{Client: &policy.Client{Dialer: s}}
		v, err := f.Recipient(t.Context(), session(), recipient)
		if got := sqmail.ReplyFor(errors.Join(err, v.Err())).Code; got != want {
			t.Errorf("%.80q: %d, want %d", answer, got, want)
		}
		f.Client.Close()
	}
}

func TestRejectionsCountIfTheyAreWanted(t *testing.T) {
	for answer, want := range map[string]int{"REJECT": 550, "554 no": 550, "DEFER": 450, "DUNNO": 250, "5xx": 250} {
		f := &policy.Postgrey{Client: &policy.Client{Dialer: &server{answer: always("action=" + answer + "\n\n")}}, Reject: true, Text: "see us"}
		v, err := f.Recipient(t.Context(), session(), recipient)
		if got := sqmail.ReplyFor(errors.Join(err, v.Err())).Code; got != want {
			t.Errorf("%s: %d, want %d", answer, got, want)
		}
		if want != 250 && !strings.HasSuffix(v.Reply.Text, "; see us") {
			t.Errorf("%s: %q", answer, v.Reply.Text)
		}
		f.Client.Close()
	}
}

func TestServerThatCannotBeAskedLetsMailIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*server{{refuse: true}, {answer: always("hang")}, {answer: always("")}} {
			f := &policy.Postgrey{Client: &policy.Client{Dialer: s}}
			start := time.Now()
			v, err := f.Recipient(t.Context(), session(), recipient)
			if v.Action != sqmail.ActionPass || v.Rule != `"out of order"` || err != nil || time.Since(start) > 10*time.Second {
				t.Errorf("%+v, %v after %v", v, err, time.Since(start))
			}
			f.Client.Close()
		}
	})
}

func TestQuestionEndsWithTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &policy.Postgrey{Client: &policy.Client{Dialer: &server{answer: always("hang")}}}
		defer f.Client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if _, err := f.Recipient(ctx, session(), recipient); !errors.Is(err, context.Canceled) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	s := &server{answer: always("action=DUNNO\n\n")}
	c := &policy.Client{Dialer: s}
	for range 5 {
		if _, err := c.Ask(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.dials != 1 {
		t.Errorf("%d connections for five questions, one after the other", s.dials)
	}
	c.Close()
	for range 2 {
		if _, err := c.Ask(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	if s.dials != 3 {
		t.Errorf("%d connections: one is kept after Close", s.dials)
	}
	s.dials = 1

	none := &policy.Client{Dialer: s, MaxIdle: -1}
	for range 2 {
		if _, err := none.Ask(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if s.dials != 3 {
		t.Errorf("%d connections", s.dials)
	}
}

func TestConnectionThatWasClosedMeanwhileIsReplaced(t *testing.T) {
	s := &server{answer: always("action=DUNNO\n\n"), once: true}
	c := &policy.Client{Dialer: s}
	defer c.Close()
	for range 3 {
		if action, err := c.Ask(t.Context(), nil); action != "DUNNO" || err != nil {
			t.Errorf("%q, %v", action, err)
		}
	}
}

func TestQuestionsAtTheSameTime(t *testing.T) {
	s := &server{answer: func(request string) string {
		name, _, _ := strings.Cut(request, "\n")
		return "action=" + name + "\n\n"
	}}
	c := &policy.Client{Dialer: s}
	defer c.Close()
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for range 20 {
				want := fmt.Sprint(i)
				if action, err := c.Ask(t.Context(), []policy.Attribute{{Name: "n", Value: want}}); action != "n="+want || err != nil {
					t.Errorf("%q, %v for %s", action, err, want)
				}
			}
		})
	}
	all.Wait()
}

func TestParsePostgrey(t *testing.T) {
	for value, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:60000", "127.0.0.1;10023": "127.0.0.1:10023", "::1": "[::1]:60000",
		"fe80::1%eth0;60001": "[fe80::1%eth0]:60001", "": "", "localhost": "", "127.0.0.1;": "", "127.0.0.1;0": "", "127.0.0.1;99999": "",
	} {
		got, err := policy.ParsePostgrey(value)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", value, got, err)
		}
	}
}

func TestRelayClientsAreNotAskedAbout(t *testing.T) {
	s := session()
	s.Peer.User = "joe"
	f := &policy.Postgrey{Client: &policy.Client{Dialer: &server{answer: always("action=DEFER\n\n")}}}
	if v, err := f.Recipient(t.Context(), s, recipient); v.Action != sqmail.ActionPass || err != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

// FuzzAnswer reads whatever a server may say.
func FuzzAnswer(f *testing.F) {
	f.Add("action=DUNNO\n\n")
	f.Add("x=1\r\naction= DEFER\r\n\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		if answer == "" || answer == "hang" {
			return
		}
		c := &policy.Client{Dialer: &server{answer: always(answer), once: true}}
		defer c.Close()
		action, err := c.Ask(t.Context(), nil)
		if err == nil && (len(action) > 4096 || strings.ContainsAny(action, "\n")) {
			t.Errorf("%q: %q", answer, action)
		}
	})
}
