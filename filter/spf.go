package filter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
)

// SPFChecker evaluates the SPF record of a sender (RFC 7208, 4).
type SPFChecker interface {
	// Check returns one of the results "none", "neutral", "pass", "fail",
	// "softfail", "temperror" and "permerror" for a client at ip that said helo
	// and sends from a path that is not null. explanation is what the
	// domain's owner wants to be said of a failure, "" if nothing. err is the
	// cause of an error, for the log; with an error that has no result it is
	// "temperror".
	Check(ctx context.Context, ip netip.Addr, helo string, from sqmail.Path) (result, explanation string, err error)
}

// SPF refuses strangers whose domain says that they must not send for it, and
// tells the result in a header field (RFC 7208, 9.1). It is evaluated once in a
// transaction, at the first recipient. Put it behind [Recipients]. Spec:
// filter.md, 5.
//
// A client that is this host itself passes without a look-up.
type SPF struct {
	// Checker evaluates. It is used concurrently. Nil, with a Mode that needs
	// it: a deferral.
	Checker SPFChecker

	// Mode is the value of the variable SPF, 0 to 6: from what on mail is
	// refused. 0: nothing is evaluated. 1: nothing is refused. 2: temporary
	// errors are deferred; the others do that, too, and reject: 3: fail. 4:
	// softfail. 5: neutral. 6: whatever is no pass.
	Mode int

	// Receiver is the name of this host, for the header field.
	Receiver string

	// Own are the addresses of this host. Loopback, and the address that the
	// client is connected to, are known without.
	Own []netip.Addr

	// Explanation is added to what a client is told if its domain has no
	// explanation of its own.
	Explanation string

	// Log gets the causes of errors. Nil: discarded.
	Log *slog.Logger
}

// Name returns "spf".
func (f *SPF) Name() string { return "spf" }

// refusedFrom is the first mode that rejects mail with a result.
var refusedFrom = map[string]int{
	"fail": 3, "softfail": 4, "neutral": 5, "none": 6, "permerror": 6,
}

const (
	maxExplanation      = 500
	maxExplanationLines = 5
)

// Recipient refuses every recipient if the sender's domain wants it.
func (f *SPF) Recipient(ctx context.Context, s *Session, _ *sqmail.Recipient) (sqmail.Verdict, error) {
	if f.Mode <= 0 || s.RelayClient() || !s.Peer.Remote.Addr().IsValid() {
		return sqmail.Verdict{}, nil
	}
	v, err := s.Once(f, func() (sqmail.Verdict, error) { return f.judge(ctx, s) })
	if v.Action == sqmail.ActionPass || err != nil {
		return sqmail.Verdict{}, err // Data tells the result, once
	}
	v.Header = ""
	return v, nil
}

// Data tells the result in a header field.
func (f *SPF) Data(_ context.Context, s *Session) (sqmail.Verdict, error) {
	v, err := s.Once(f, func() (sqmail.Verdict, error) { return sqmail.Verdict{}, nil })
	if v.Header == "" || err != nil {
		return sqmail.Verdict{}, err
	}
	return sqmail.Verdict{Action: sqmail.ActionTag, Header: v.Header, Rule: v.Rule, Input: v.Input}, nil
}

// judge evaluates. The header field is in the verdict whatever its action.
func (f *SPF) judge(ctx context.Context, s *Session) (sqmail.Verdict, error) {
	from, identity := s.Envelope.ReversePath, "mailfrom"
	if from.IsNull() {
		from, identity = sqmail.Path{Local: "postmaster", Domain: s.Peer.Hello}, "helo" // RFC 7208, 2.4
	}
	result, explanation, cause := "pass", "", error(nil)
	switch {
	case f.isOwn(s.Peer):
	case f.Checker == nil:
		return sqmail.Verdict{}, errors.New("filter: SPF without Checker")
	default:
		result, explanation, cause = f.Checker.Check(ctx, s.Peer.Remote.Addr().Unmap(), s.Peer.Hello, from)
	}
	if err := ctx.Err(); err != nil {
		return sqmail.Verdict{}, err
	}
	if errors.Is(cause, ErrNotRecorded) {
		return sqmail.Verdict{}, cause
	}
	if _, known := refusedFrom[result]; !known && (result != "pass" || cause != nil) {
		result = "temperror"
	}
	if cause != nil && f.Log != nil {
		f.Log.InfoContext(ctx, "spf", "session", s.Peer.Session, "result", result, "from", from.String(), "err", cause)
	}
	v := sqmail.Verdict{Rule: result, Input: s.unquoted(from), Header: f.header(s, from, identity, result)}
	switch at, refusable := refusedFrom[result]; {
	case result == "temperror" && f.Mode >= 2:
		v.Action = sqmail.ActionDefer
		v.Reply = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 0}, Text: "temporary failure of SPF check, try again later"}
	case refusable && f.Mode >= at:
		v.Action = sqmail.ActionReject
		v.Reply = sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: f.explain(result, explanation, from)}
	}
	return v, nil
}

// isOwn reports whether a client is this host.
func (f *SPF) isOwn(p *sqmail.Peer) bool {
	addr := p.Remote.Addr().Unmap().WithZone("")
	return isOwnAddress(p, addr) || slices.Contains(f.Own, addr)
}

// explain returns what the client is told. The words of the domain's owner are
// bounded, in lines of their own.
func (f *SPF) explain(result, explanation string, from sqmail.Path) string {
	text := fmt.Sprintf("sorry, the SPF policy of your sender domain says %s for this host", result)
	if explanation == "" {
		return withText(text, f.Explanation)
	}
	lines := strings.FieldsFunc(explanation[:min(len(explanation), maxExplanation)], func(r rune) bool { return r == '\n' || r == '\r' })
	lines = lines[:min(len(lines), maxExplanationLines)]
	return text + "\n" + from.Domain + " explains:\n" + strings.Join(lines, "\n")
}

// comments say what a result means: %s is the sender, %i the client.
var comments = map[string]string{
	"pass":      "domain of %s designates %i as permitted sender",
	"fail":      "domain of %s does not designate %i as permitted sender",
	"softfail":  "domain of transitioning %s discourages use of %i as permitted sender",
	"neutral":   "%i is neither permitted nor denied by domain of %s",
	"none":      "domain of %s does not designate permitted sender hosts",
	"temperror": "temporary error in looking up the policy of %s",
	"permerror": "permanent error in the policy of %s",
}

// header returns the header field for a result (RFC 7208, 9.1).
func (f *SPF) header(s *Session, from sqmail.Path, identity, result string) string {
	var buf [640]byte
	var ip [48]byte
	address, receiver := s.Peer.Remote.Addr().Unmap().WithZone("").AppendTo(ip[:0]), traceText(f.Receiver)
	if receiver == "" {
		receiver = "unknown"
	}
	b := joined(buf[:0], "Received-SPF: ", result, " (", receiver, ": ")
	for comment := comments[result]; comment != ""; {
		text, rest, found := strings.Cut(comment, "%")
		b = append(b, text...)
		if found && rest[0] == 's' {
			b = append(b, traceText(s.unquoted(from))...)
		} else if found {
			b = append(b, address...)
		}
		comment = rest[min(1, len(rest)):]
	}
	b = joined(append(append(b, ")\n client-ip="...), address...), "; envelope-from=\"", traceText(s.unquoted(s.Envelope.ReversePath)))
	b = joined(b, "\";\n helo=\"", traceText(s.Peer.Hello), "\"; receiver=", receiver, "; identity=", identity, ";\n")
	return string(b)
}

// joined appends texts.
func joined(b []byte, texts ...string) []byte {
	for _, text := range texts {
		b = append(b, text...)
	}
	return b
}
