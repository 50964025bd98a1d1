package remote

import (
	"bufio"
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/internal/wire"
)

func TestMemoryOfDeadHostsIsBounded(t *testing.T) {
	var d deadHosts
	var f tlsFailures
	now := time.Now()
	host := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 25)
	}
	dead := host(0)
	d.failed(dead, now)
	d.failed(dead, now.Add(3*time.Minute))
	for i := 1; i < 2*maxDeadHosts; i++ {
		d.failed(host(i), now.Add(4*time.Minute+time.Duration(i)*time.Millisecond))
		f.add(host(i), now)
	}
	if len(d.hosts) != maxDeadHosts || len(f.until) > maxTLSFailures {
		t.Errorf("%d dead hosts, %d TLS failures", len(d.hosts), len(f.until))
	}
	if !d.isDead(dead, now.Add(5*time.Minute)) {
		t.Error("a host with two failures was forgotten for one with one")
	}
	if d.isDead(host(2*maxDeadHosts-1), now.Add(5*time.Minute)) {
		t.Error("one failure makes a host dead")
	}
}

// FuzzReply reads any octets for replies.
func FuzzReply(f *testing.F) {
	for _, s := range []string{
		"250 ok\r\n", "250-a\r\n250-b\r\n250 c\r\n", "250\r\n", "250\n", "550-5.1.1 a\r\n550 5.1.1 b\r\n",
		"220-" + strings.Repeat("x", 6000) + "\r\n220 y\r\n", "25", "250-a\r\n251 b\r\n", "999 x\r\n", "\x00\r\r\n", "421 \xff\x1b[\r\n",
		"250-SIZE 10\r\n250 AUTH PLAIN LOGIN\r\n", "554 5.7.1.1 x\r\n554 4.7.1 x\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		br := bufio.NewReaderSize(bytes.NewReader(octets), replyBuffer)
		for {
			r, err := readReply(br)
			if err != nil {
				return
			}
			if r.code < 200 || r.code > 599 || len(r.text) > maxReplyKept || len(r.text) < 3 {
				t.Fatalf("reply %d %q", r.code, r.text)
			}
			if strings.ContainsAny(r.text, "\r\x00\x1b") || len(r.text) < maxReplyKept-4 && !utf8.ValidString(r.text) {
				t.Fatalf("not fit for a report: %q", r.text)
			}
			p := r.public()
			if e := p.Enhanced[0]; e != 0 && e != r.code/100 {
				t.Fatalf("enhanced code %v of %d", p.Enhanced, r.code)
			}
			if e := parseExtensions(r); e.limit < 0 {
				t.Fatalf("limit %d", e.limit)
			}
			cramMD5("u", "p", text(r))
		}
	})
}

func TestLongReplyIsCutForReports(t *testing.T) {
	long := "550-" + strings.Repeat("x", 3000) + "\r\n"
	r, err := readReply(bufio.NewReader(strings.NewReader(long + long + "550 end\r\n")))
	if err != nil || len(r.text) != maxReplyKept || r.code != 550 {
		t.Errorf("%d octets, code %d, %v", len(r.text), r.code, err)
	}
}

func TestEnhancedCodes(t *testing.T) {
	for line, want := range map[string]sqmail.EnhancedCode{
		"550 5.1.1 x": {5, 1, 1}, "550 5.1.999": {5, 1, 999}, "550 4.1.1 x": {}, "550 5.1 x": {}, "550 5.1.1000": {},
		"550 5..1 x": {}, "550 5.1.1x y": {}, "550": {}, "550 ": {}, "550 5.1.-1 x": {},
	} {
		if got := (reply{550, line}).public().Enhanced; got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

// FuzzExamine: what is said of a message with SIZE is what goes over the wire,
// dot-stuffing apart.
func FuzzExamine(f *testing.F) {
	for _, s := range []string{"a: b\n\nc\n", "\r\r\n\n", "x\r\ny\rz\n", "ü: x\n\n", "\n\nü\n", "", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, pad := range []int{0, 32<<10 - len(s)/2} { // across the border of two reads
			text := strings.Repeat("y", max(pad, 0)) + s
			c, err := examine(&sqmail.Message{Content: strings.NewReader(text), Size: int64(len(text))})
			if err != nil {
				t.Fatal(err)
			}
			var sent bytes.Buffer
			w := wire.NewDotWriter(&sent)
			w.Write([]byte(text))
			partial := w.Partial()
			w.Close()
			size, dots := 0, 0
			for line := range bytes.Lines(sent.Bytes()) {
				size += len(line)
				if line[0] == '.' {
					dots++
				}
			}
			if size -= dots + 2; partial {
				size -= 2
			}
			if c.wireSize != int64(size) || c.partialLine != partial || c.eightBit != !isASCII(text) {
				t.Fatalf("%.40q: %+v, but %d octets, partial: %v", text, c, size, partial)
			}
			if c.utf8Header && !c.eightBit {
				t.Fatalf("%.40q: %+v", text, c)
			}
		}
	})
}
