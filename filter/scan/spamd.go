package scan

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// Spamd asks SpamAssassin's spamd, by its protocol's SYMBOLS. All messages get
// the field X-Spam-Status, and spam X-Spam-Flag: YES.
type Spamd struct {
	// Address is the path of a Unix socket, or host:port.
	Address string

	// Dial opens connections. Nil: that of a zero net.Dialer.
	Dial DialFunc

	// Timeout is for the whole exchange. 0: five minutes, as spamd takes for
	// a message.
	Timeout time.Duration

	// User is whose preferences spamd uses; "": its own.
	User string

	// RejectAt is the score from which on messages are refused, with 554
	// 5.3.2. 0: none is.
	RejectAt float64

	// MaxSize is the length beyond which messages pass without being asked
	// about, in octets. 0: 500 KiB, as in spamc.
	MaxSize int64

	// Strangers asks only about messages of those who are not relay clients.
	Strangers bool

	// Pass lets messages pass if spamd cannot be asked; by default they are
	// deferred.
	Pass bool

	// Text is added to the reply that rejects a message.
	Text string

	// TempDir is where messages are put by. "": /tmp.
	TempDir string

	// Log hears of messages that pass because of Pass. Nil: discarded.
	Log *slog.Logger
}

const (
	spamdTimeout = 5 * time.Minute
	spamdMaxSize = 500 << 10
)

// Name returns "spamd".
func (f *Spamd) Name() string { return "spamd" }

// Asks names the daemon.
func (f *Spamd) Asks(s *filter.Session) string {
	if f.Strangers && s.RelayClient() {
		return ""
	}
	return "spamd at " + f.Address
}

// Body returns a scanner for a message.
func (f *Spamd) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	if f.Strangers && s.RelayClient() {
		return nil, nil
	}
	return newSpooled(ctx, s, f.TempDir, cmp.Or(f.MaxSize, spamdMaxSize), f.ask)
}

func (f *Spamd) ask(m *spooled) (sqmail.Verdict, error) {
	message, size := m.message()
	question := fmt.Sprintf("SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n", size)
	if f.User != "" {
		question += "User: " + field.ASCII(f.User, 200) + "\r\n"
	}
	raw, err := f.Dial.exchange(m.ctx, f.Address, cmp.Or(f.Timeout, spamdTimeout), strings.NewReader(question+"\r\n"), message)
	var a spamdAnswer
	if err == nil {
		a, err = parseSpamd(raw)
	}
	if err != nil {
		return unasked(m.ctx, f.Name(), f.Pass && m.ctx.Err() == nil, f.Log, fmt.Errorf("spamd: %w", err))
	}
	v := sqmail.Verdict{Action: sqmail.ActionTag, Rule: fmt.Sprintf("score %.1f/%.1f", a.score, a.required), Input: a.symbols}
	if f.RejectAt > 0 && a.score >= f.RejectAt {
		v.Action, v.Reply = sqmail.ActionReject, withText(isSpam, f.Text)
		return v, nil
	}
	v.Header = spamFields(a.spam, a.score, a.required, a.symbols)
	return v, nil
}

var isSpam = sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 3, 2},
	Text: "sorry, invalid message content (spam)",
}

// spamFields returns the fields that mail programs look for.
func spamFields(spam bool, score, required float64, tests string) string {
	status, flag := "No", ""
	if spam {
		status, flag = "Yes", "X-Spam-Flag: YES\n"
	}
	status = fmt.Sprintf("%sX-Spam-Status: %s, score=%.1f required=%.1f", flag, status, score, required)
	if tests != "" {
		status += "\n\ttests=" + tests
	}
	return status + "\n"
}

type spamdAnswer struct {
	spam            bool
	score, required float64
	symbols         string // blank-free, separated by commas
}

var errSpamd = errors.New("malformed answer")

// parseSpamd parses an answer:
//
//	SPAMD/1.1 0 EX_OK
//	Spam: True ; 15.3 / 5.0
//
//	SYMBOL,SYMBOL
func parseSpamd(raw []byte) (a spamdAnswer, err error) {
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	head, symbols, found := strings.Cut(text, "\n\n")
	lines := strings.Split(head, "\n")
	status := strings.Fields(lines[0])
	if len(status) < 2 || !strings.HasPrefix(status[0], "SPAMD/") || status[1] != "0" {
		return a, fmt.Errorf("unexpected answer %q", field.ASCII(lines[0], 200))
	}
	if !found {
		return a, errSpamd // cut off
	}
	for _, line := range lines[1:] {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Spam") {
			a.symbols = symbolList(symbols)
			return a, a.parse(value)
		}
	}
	return a, errSpamd
}

// parse parses what stands behind "Spam:".
func (a *spamdAnswer) parse(value string) (err error) {
	verdict, numbers, _ := strings.Cut(value, ";")
	score, required, _ := strings.Cut(numbers, "/")
	switch strings.ToLower(strings.TrimSpace(verdict)) {
	case "true", "yes":
		a.spam = true
	case "false", "no":
	default:
		return errSpamd
	}
	a.score, err = parseScore(score)
	if err == nil {
		a.required, err = parseScore(required)
	}
	return err
}

func parseScore(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, errSpamd
	}
	return n, nil
}

// symbolList makes a list of symbols that fits a line of a header.
func symbolList(s string) string {
	const most = 800
	list := bytes.Join(bytes.FieldsFunc([]byte(s), func(r rune) bool { return r == ',' || r <= ' ' }), []byte{','})
	if len(list) > most {
		list = list[:most]
		list = append(list[:bytes.LastIndexByte(list, ',')+1], "..."...)
	}
	return field.ASCII(string(list), most+3)
}
