package scan

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/filter/internal/field"
)

// oneField fails the test if header holds anything but whole fields.
func oneField(t *testing.T, header string) {
	t.Helper()
	for line := range strings.Lines(header) {
		name, _, found := strings.Cut(line, ":")
		folded := line[0] == ' ' || line[0] == '\t'
		if !strings.HasSuffix(line, "\n") || strings.ContainsAny(line, "\r\x00") || strings.TrimSpace(line) == "" {
			t.Errorf("%q", header)
		}
		if !folded && (!found || !field.ValidName(name)) {
			t.Errorf("%q", header)
		}
	}
}

func FuzzClamdAnswer(f *testing.F) {
	f.Add([]byte("stream: OK\x00"))
	f.Add([]byte("stream: Eicar-Signature FOUND\n"))
	f.Add([]byte("INSTREAM size limit exceeded. ERROR\x00"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		signature, err := parseClamd(answer)
		if err == nil && signature == "" && strings.TrimRight(string(answer), "\x00\n") != "stream: OK" {
			t.Errorf("%q lets a message pass", answer)
		}
	})
}

func FuzzSpamdAnswer(f *testing.F) {
	f.Add([]byte("SPAMD/1.1 0 EX_OK\r\nContent-length: 5\r\nSpam: True ; 15.3 / 5.0\r\n\r\nA,BCD"))
	f.Add([]byte("SPAMD/1.0 76 Bad header line\r\n\r\n"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, err := parseSpamd(answer)
		if err == nil {
			oneField(t, spamFields(a.spam, a.score, a.required, a.symbols))
		}
	})
}

func FuzzRspamdAnswer(f *testing.F) {
	f.Add([]byte(`{"action":"no action","score":1.5,"required_score":15,"symbols":{"A":{"score":1}}}`))
	f.Add([]byte(`{"action":"add header","milter":{"add_headers":{"X-A":[{"value":"a\r\n b","order":1},"c"]}},"dkim-signature":"v=1"}`))
	f.Add([]byte(`{"action":"soft reject","messages":{"smtp_message":"later"}}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		a, err := parseRspamd(answer)
		if err != nil {
			return
		}
		if v, err := new(Rspamd).verdict(&a); err == nil {
			oneField(t, v.Header)
		}
	})
}
