package gosmtp_test

import (
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// withLMTP answers for each recipient, from goroutines.
type withLMTP struct {
	session
	rcpts []string
}

func (s *withLMTP) Rcpt(to string, o *smtp.RcptOptions) error {
	s.rcpts = append(s.rcpts, to)
	return nil
}

func (s *withLMTP) Reset() { s.rcpts = nil }

func (s *withLMTP) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var all sync.WaitGroup
	for _, to := range s.rcpts {
		if !strings.HasPrefix(to, "silent") {
			all.Go(func() { status.SetStatus(to, answer(to)) })
		}
	}
	all.Wait()
	if strings.Contains(string(text), "stranger") {
		status.SetStatus("stranger@x.test", nil)
	}
	return answer(string(text))
}

type lmtpBackend struct{ backend }

func (b *lmtpBackend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &withLMTP{session: session{b: &b.backend, c: c}}, nil
}

const threeRecipients = `C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: RCPT TO:<busy@x.test>
C: RCPT TO:<silent@x.test>
C: DATA
S: 250*
S: 250*
S: 250*
S: 250*
S: 354*
`

func TestStatusOfEachRecipient(t *testing.T) {
	server := start(t, new(lmtpBackend), func(s *smtp.Server) { s.LMTP = true })
	server.Talk(t, "S: 220*\nC: LHLO c\nS: 250...\n"+threeRecipients+`C: hello
C: .
S: 250 2.0.0 ok*
S: 450 4.2.1 later
S: 250 2.0.0 ok*
`+threeRecipients+`C: vague
C: .
S: 250 2.0.0 ok*
S: 450 4.2.1 later
S: 451 4.3.0*
`+threeRecipients+`C: stranger
C: .
S: 250 2.0.0 ok*
S: 450 4.2.1 later
S: 451 4.3.0*
C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: RCPT TO:<b@x.test>
C: "BDAT 2\r\nxyBDAT 0 LAST\r\n"
S: 250*
S: 250*
S: 250*
S: 250*
S: 250 2.0.0 ok*
S: 250 2.0.0 ok*
`)
}

func TestLMTPWithoutLMTPData(t *testing.T) {
	server := start(t, new(backend), func(s *smtp.Server) { s.LMTP = true })
	server.Talk(t, `S: 220*
C: LHLO c
S: 250...
C: MAIL FROM:<a@x.test>
C: RCPT TO:<b@x.test>
C: RCPT TO:<c@x.test>
C: DATA
S: 250*
S: 250*
S: 250*
S: 354*
C: busy
C: .
S: 450 4.2.1 later
S: 450 4.2.1 later
`)
}
