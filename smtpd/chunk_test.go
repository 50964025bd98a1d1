package smtpd_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/smtpd"
	"github.com/sqmail/sqmail/smtpd/smtpdtest"
)

// A reader that looks with an empty slice whether there is more loses nothing.
func TestEmptyReadsOfAMessageInChunks(t *testing.T) {
	var got []byte
	server := smtpdtest.NewServer(t, sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
		b := make([]byte, 1)
		for {
			if n, err := body.Read(nil); n != 0 || err != nil {
				return sqmail.Receipt{}, err
			}
			n, err := body.Read(b)
			got = append(got, b[:n]...)
			if err == io.EOF {
				return sqmail.Receipt{}, nil
			}
		}
	}))
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("MAIL FROM:<a@example.org>", 250)
	c.Do("RCPT TO:<b@example.test>", 250)
	c.Send("BDAT 1\r\nxBDAT 1 LAST\r\ny")
	c.Expect(250)
	c.Expect(250)
	if string(got) != "xy\n" {
		t.Errorf("got %q", got)
	}
}

func TestNoEventNamesTheUserTwice(t *testing.T) {
	var log strings.Builder
	server := smtpdtest.NewServer(t, nil, func(s *smtpd.Server) {
		s.Verifier, s.AuthFailureDelay = users, -1
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	c := server.Dial(t)
	c.Do("EHLO c", 250)
	c.Do("AUTH PLAIN AGpvZQB3cm9uZw==", 535)
	c.Do("AUTH PLAIN AGpvZQBzZWNyZXQ=", 235)
	server.Close()
	for line := range strings.Lines(log.String()) {
		if strings.Count(line, " user=joe") != 1 {
			t.Errorf("%s", line)
		}
	}
}
