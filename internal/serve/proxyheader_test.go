package serve

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 writes a binary header.
func v2(command, family byte, rest string) string {
	return proxySignature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

const (
	four = "\xc0\x00\x02\x07\xcb\x00\x71\x01\x30\x39\x00\x19"
	six  = " \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x30\x39\x00\x19"
	tlv  = "\x04\x00\x03abc"
)

func TestProxyHeader(t *testing.T) {
	for _, tc := range []struct{ header, from, to string }{
		{"PROXY TCP4 192.0.2.7 203.0.113.1 12345 25\r\n", "192.0.2.7:12345", "203.0.113.1:25"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n", "[2001:db8::7]:65535", "[2001:db8::1]:0"},
		{"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 1 2\r\n", "[::ffff:192.0.2.7]:1", "[2001:db8::1]:2"},
		{"PROXY UNKNOWN\r\n", "", ""},
		{"PROXY UNKNOWN whatever 1.2.3.4\r\n", "", ""},
		{"PROXY UNKNOWN" + strings.Repeat(" x", 46) + "\r\n", "", ""},
		{v2(0x21, 0x11, four), "192.0.2.7:12345", "203.0.113.1:25"},
		{v2(0x21, 0x21, six), "[2001:db8::7]:12345", "[2001:db8::1]:25"},
		{v2(0x21, 0x11, four+tlv), "192.0.2.7:12345", "203.0.113.1:25"},
		{v2(0x21, 0x11, four+strings.Repeat("x", 65535-12)), "192.0.2.7:12345", "203.0.113.1:25"},
		{v2(0x21, 0x00, ""), "", ""},
		{v2(0x21, 0x31, strings.Repeat("/", 216)), "", ""},
		{v2(0x20, 0x00, ""), "local", ""},
		{v2(0x20, 0x11, four), "local", ""},
	} {
		src := strings.NewReader(tc.header + "EHLO c\r\n")
		h, err := readProxyHeader(iotest.OneByteReader(src))
		want := proxyHeader{local: tc.from == "local"}
		if tc.to != "" {
			want.from, want.to = netip.MustParseAddrPort(tc.from), netip.MustParseAddrPort(tc.to)
		}
		if h != want || err != nil {
			t.Errorf("%.60q: %+v, %v", tc.header, h, err)
		}
		if rest, _ := io.ReadAll(src); string(rest) != "EHLO c\r\n" {
			t.Errorf("%.60q: then %q", tc.header, rest)
		}
	}
}

func TestNoProxyHeader(t *testing.T) {
	for _, text := range []string{
		"EHLO client.test\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"PROXY  TCP4 192.0.2.7 203.0.113.1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 3\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 1\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 01 2\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 +1 2\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 65536 2\r\n",
		"PROXY TCP4 192.0.2.07 203.0.113.1 1 2\r\n",
		"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
		"PROXY TCP6 192.0.2.7 203.0.113.1 1 2\r\n",
		"PROXY TCP6 fe80::1%eth0 2001:db8::1 1 2\r\n",
		"PROXY UDP4 192.0.2.7 203.0.113.1 1 2\r\n",
		"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\n      ",
		"PROXY UNKNOWN" + strings.Repeat("x", 200) + "\r\n",
		v2(0x11, 0x11, four), v2(0x22, 0x11, four), v2(0x21, 0x12, four), v2(0x21, 0x32, four),
		v2(0x21, 0x11, four[:11]), v2(0x21, 0x21, six[:35]),
	} {
		if h, err := readProxyHeader(strings.NewReader(text)); err == nil || h.from.IsValid() && errors.Is(err, io.EOF) {
			t.Errorf("%.60q: %+v, %v", text, h, err)
		}
	}
	whole := v2(0x21, 0x11, four+tlv)
	for n := range len(whole) {
		if _, err := readProxyHeader(strings.NewReader(whole[:n])); err == nil {
			t.Errorf("cut after %d octets, but taken", n)
		}
	}
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 203.0.113.1 12345 25\r\nEHLO"))
	f.Add([]byte("PROXY TCP6 2001:db8::7 2001:db8::1 65535 0\r\n"))
	f.Add([]byte("PROXY UNKNOWN x\r\n"))
	f.Add([]byte(v2(0x21, 0x11, four+tlv)))
	f.Add([]byte(v2(0x21, 0x21, six)))
	f.Add([]byte(v2(0x20, 0x00, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		src := bytes.NewReader(b)
		h, err := readProxyHeader(src)
		read := len(b) - src.Len()
		switch {
		case err != nil:
			return
		case bytes.HasPrefix(b, []byte(proxySignature)):
			if want := 16 + int(b[14])<<8 + int(b[15]); read != want {
				t.Errorf("%d octets read, the header has %d", read, want)
			}
		case !bytes.HasSuffix(b[:read], []byte("\r\n")) || bytes.Count(b[:read], []byte("\n")) != 1 && h.from.IsValid() || read > maxProxyLine:
			t.Errorf("read %q", b[:read])
		}
		if h.from.IsValid() != h.to.IsValid() || h.local && h.from.IsValid() {
			t.Errorf("%+v", h)
		}
	})
}
