package mailtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/mailtest"
)

const mimeMessage = `Received: one
Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=
 again
received: two
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

sch=F6n
--b
Content-Type: text/html

<p>nice</p>
--b
Content-Type: text/csv; name=a.csv
Content-Disposition: attachment; filename=a.csv
Content-Transfer-Encoding: base64

YSxi
--b--
`

func TestMessageIsRead(t *testing.T) {
	m := &mailtest.Message{Data: []byte(mimeMessage)}
	for name, want := range map[string]string{"subject": "Grüße again", "Received": "one", "X-None": ""} {
		if got := m.Header(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := m.HeaderValues("RECEIVED"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("Received: %q", got)
	}
	if got := strings.TrimSpace(m.Text()); got != "schön" {
		t.Errorf("text %q", got)
	}
	if got := strings.TrimSpace(m.HTML()); got != "<p>nice</p>" {
		t.Errorf("HTML %q", got)
	}
	if got := m.Attachment("a.csv"); string(got) != "a,b" {
		t.Errorf("attachment %q", got)
	}
	if got := m.Attachment("b.csv"); got != nil {
		t.Errorf("an attachment that is not there: %q", got)
	}
	if !strings.HasPrefix(m.Body(), "--b\n") {
		t.Errorf("body %q", m.Body())
	}
}

func TestMessageOfAnyShape(t *testing.T) {
	for data, body := range map[string]string{
		"": "", "\n": "", "\nbody\n": "body\n", "no header": "", "a: b\n": "", "a: b\n\n\nc": "\nc", " folded\n\nx": "x",
	} {
		m := &mailtest.Message{Data: []byte(data)}
		if got := m.Body(); got != body {
			t.Errorf("body of %q is %q, want %q", data, got, body)
		}
		m.Header("a")
		m.Text()
	}
}

// failing is a testing.TB whose Fatalf can be seen.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}
func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

// failure returns what an assertion says as it fails, "" if it does not.
func failure(t *testing.T, assert func(testing.TB)) (said string) {
	f := &failing{TB: t}
	defer func() {
		if r := recover(); r != nil && r != any(f) {
			panic(r)
		}
		said = f.said
	}()
	assert(f)
	return ""
}

func TestAssertionsFail(t *testing.T) {
	message := func(to string) *mailtest.Message {
		return &mailtest.Message{
			Envelope: sqmail.Envelope{Recipients: []sqmail.Recipient{{Path: sqmail.PathOf(to)}}},
			Data:     []byte("Subject: hi\n\nhello\n"),
		}
	}
	one := []*mailtest.Message{message("bob@b.test"), message("eve@b.test")}
	twice := append(one, message("bob@b.test"))
	for _, tc := range []struct {
		rule     string
		messages []*mailtest.Message
		checks   []mailtest.Check
		want     string
	}{
		{"exactly one", one, nil, ""},
		{"of the checks all hold", one,
			[]mailtest.Check{mailtest.FromPath(""), mailtest.HasHeader("Subject", "hi"), mailtest.HasText("hello")}, ""},
		{"none", nil, nil, "0 messages to <bob@b.test>"},
		{"duplicates", twice, nil, "2 messages to <bob@b.test>"},
		{"another reverse-path", one, []mailtest.Check{mailtest.FromPath("joe@a.test")}, "from <>, not <joe@a.test>"},
		{"another header", one, []mailtest.Check{mailtest.HasHeader("Subject", "ho")}, `Subject is ["hi"], not "ho"`},
		{"another text", one, []mailtest.Check{mailtest.HasText("bye")}, `"bye" is not in the text`},
		{"another message", one, []mailtest.Check{mailtest.HasData("x")}, "the message is"},
	} {
		said := failure(t, func(t testing.TB) { mailtest.AssertDelivered(t, tc.messages, "bob@b.test", tc.checks...) })
		if (said == "") != (tc.want == "") || !strings.Contains(said, tc.want) {
			t.Errorf("%s: said %q, want %q", tc.rule, said, tc.want)
		}
	}
	if said := failure(t, func(t testing.TB) { mailtest.AssertNotDelivered(t, one, "BOB@B.test") }); said == "" {
		t.Error("AssertNotDelivered does not see the message")
	}
	mailtest.AssertNotDelivered(t, one, "joe@b.test")
}
