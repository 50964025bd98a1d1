package filter

import (
	"context"
	"strconv"
	"time"

	"github.com/sqmail/sqmail"
)

// MaxRecipients refuses further recipients of a transaction for now. Every
// RCPT counts, accepted or not. Spec: smtpd.md, 3.2 and 4.5.
type MaxRecipients int

// Name returns "maxrecipients".
func (MaxRecipients) Name() string { return "maxrecipients" }

var tooManyRecipients = sqmail.Reply{
	Code: 452, Enhanced: sqmail.EnhancedCode{4, 5, 3},
	Text: "sorry, too many recipients",
}

// Recipient refuses the recipients beyond the limit. A limit of 0 is none.
func (f MaxRecipients) Recipient(_ context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	if f <= 0 || s.Recipients <= int(f) {
		return sqmail.Verdict{}, nil
	}
	return sqmail.Verdict{
		Action: sqmail.ActionDefer, Reply: tooManyRecipients, Rule: "at most " + strconv.Itoa(int(f)), Input: strconv.Itoa(s.Recipients),
	}, nil
}

// Tarpit slows down strangers that name many recipients, and stops those that
// guess. Spec: filter.md, 9.
type Tarpit struct {
	// Count is the number of recipients from which on each is answered after
	// Delay; and the number of unknown recipients in a session after which
	// every further one hears 452. 0: the filter does nothing.
	Count int

	// Delay is the pause. 0: none.
	Delay time.Duration

	// Notorious closes a session that has guessed Count times when it wants
	// to send a message; there is no pause then. (A TARPITDELAY of 999.)
	Notorious bool
}

// Name returns "tarpit".
func (f *Tarpit) Name() string { return "tarpit" }

// Recipient delays or refuses.
func (f *Tarpit) Recipient(_ context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	switch {
	case f.Count <= 0 || s.RelayClient():
		return sqmail.Verdict{}, nil
	case s.Unknown >= f.Count:
		v := sqmail.Verdict{Action: sqmail.ActionDefer, Reply: tooManyRecipients}
		return f.because(v, "unknown recipients", s.Unknown), nil
	case s.Recipients >= f.Count && f.Delay > 0 && !f.Notorious:
		return f.because(sqmail.Verdict{Action: sqmail.ActionDelay, Delay: f.Delay}, "recipients", s.Recipients), nil
	}
	return sqmail.Verdict{}, nil
}

// because enters what a verdict rests on.
func (f *Tarpit) because(v sqmail.Verdict, what string, n int) sqmail.Verdict {
	v.Rule, v.Input = strconv.Itoa(f.Count)+" "+what, strconv.Itoa(n)
	return v
}

// Data closes a notorious session.
func (f *Tarpit) Data(_ context.Context, s *Session) (sqmail.Verdict, error) {
	if f.Count <= 0 || !f.Notorious || s.RelayClient() || s.Unknown < f.Count {
		return sqmail.Verdict{}, nil
	}
	v := sqmail.Verdict{Action: sqmail.ActionDrop, Reply: sqmail.Reply{
		Code: 503, Enhanced: sqmail.EnhancedCode{5, 5, 1}, Text: "too many unknown recipients in this session",
	}}
	return f.because(v, "unknown recipients", s.Unknown), nil
}
