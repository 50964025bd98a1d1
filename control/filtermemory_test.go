package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// endless is a message of so many octets, in a base64 part, that looks at the
// heap when it has been read.
type endless struct {
	left int
	heap uint64 // what is in use then
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		e.heap = m.HeapAlloc
		return 0, nil // the end would be the filters' turn
	}
	const line = "SGVsbG8gd29ybGQhIFNHVnNiRzhnZDI5eWJHUWhJRk5IVm5OaVJ6aG5aREk1\n"
	n := 0
	for n+len(line) <= len(p) && e.left > 0 {
		n += copy(p[n:], line)
		e.left -= len(line)
	}
	return n, nil
}

// TestFiltersHoldNoMessage: with all of them at work the heap does not grow with
// the message.
func TestFiltersHoldNoMessage(t *testing.T) {
	swallow := func(r *bufio.Reader, w io.Writer) { io.Copy(io.Discard, r) }
	at := daemon(t, swallow)
	c, err := LoadFS(homeOf(map[string]string{
		"control/services": fmt.Sprintf("smtpd smtp 127.0.0.1:0 BADMIMETYPE=\"!\" BADLOADERTYPE=M MIMEFILTER=\"\" CLAMD=\"%s pass\" SPAMD=\"%s pass\" RSPAMD=\"%s pass\" MILTER=\"%s pass\" QHPSI=true BASE64=\"\"\n",
			at, at, at, daemon(t, fakeMilter)),
		"control/badmimetypes": "TVqQAAMAA\n", "control/badloadertypes": "Mi5kb\n",
	}), "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	chain := &filter.Chain{Filters: c.Filters(Parts{TempDir: t.TempDir()}).For(profileOf(c, "192.0.2.1"))}
	grown := func(size int) uint64 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		peer := &sqmail.Peer{Remote: netip.MustParseAddrPort("192.0.2.1:25"), Hello: "h.test"}
		p, err := chain.BeginSession(ctx, peer)
		if err != nil {
			t.Fatal(err)
		}
		policy, env := p.(*filter.Policy), &sqmail.Envelope{ReversePath: sqmail.PathOf("a@x.test"), Peer: peer}
		to := &sqmail.Recipient{Path: sqmail.PathOf("b@mx.test")}
		if err := errors.Join(policy.CheckConnect(ctx, peer), policy.CheckHello(ctx, peer),
			policy.CheckReversePath(ctx, peer, env), policy.CheckRecipient(ctx, peer, env, to)); err != nil {
			t.Fatal(err)
		}
		body := &endless{left: size}
		head := strings.NewReader("Content-Transfer-Encoding: base64\n\n")
		r := policy.FilterBody(ctx, peer, env, io.MultiReader(head, body))
		defer r.(io.Closer).Close()
		buf := make([]byte, 32<<10)
		for err == nil && body.heap == 0 {
			_, err = r.Read(buf)
		}
		return body.heap
	}
	small, large := grown(64<<10), grown(64<<20)
	if large > small+4<<20 {
		t.Errorf("%d octets in use after 64 KiB, %d after 64 MiB", small, large)
	}
}
