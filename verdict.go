package sqmail

import (
	"errors"
	"slices"
	"strconv"
	"time"
)

// Verdict is one decision about a session or a message, with what it rests
// on. Kept in order, verdicts explain why a message was taken or refused.
type Verdict struct {
	// Stage is when it was made: one of the Stage constants.
	Stage string `json:"stage"`

	// Filter is who made it.
	Filter string `json:"filter"`

	// Action is what is to be done. The zero value goes on.
	Action Action `json:"action"`

	// Reply is what the peer is told when the action refuses.
	Reply Reply `json:"reply,omitzero"`

	// Delay is how long to wait, for ActionDelay.
	Delay time.Duration `json:"delay,omitempty"`

	// Header is the field to add, ended by LF, for ActionTag.
	Header string `json:"header,omitempty"`

	// Rule is the rule that decided, Input what it was applied to; File and
	// Line are where the rule stands, if it was read from a file.
	Rule  string `json:"rule,omitempty"`
	Input string `json:"input,omitempty"`
	File  string `json:"file,omitempty"`
	Line  int    `json:"line,omitempty"`

	// Took is the time that the decision took.
	Took time.Duration `json:"took,omitempty"`
}

// Action is what a [Verdict] asks for.
type Action uint8

// The actions. Those from ActionDefer on end the matter.
const (
	ActionPass   Action = iota // no opinion, go on
	ActionTag                  // go on, and add a header field
	ActionDelay                // go on after a pause
	ActionAccept               // go on, and ask no further filter at this stage
	ActionDefer                // refuse for now: 4yz
	ActionReject               // refuse: 5yz
	ActionDrop                 // refuse, and close the session
)

var actionNames = [...]string{"pass", "tag", "delay", "accept", "defer", "reject", "drop"}

// String returns the action's name in lower case.
func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return "unknown"
}

// MarshalText returns a's String.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (a *Action) UnmarshalText(text []byte) error {
	i := slices.Index(actionNames[:], string(text))
	if i < 0 {
		return errors.New("sqmail: unknown action")
	}
	*a = Action(i)
	return nil
}

// Err returns the verdict as an error for a server: nil if it lets the matter
// go on, else an [*Error] with its Reply.
func (v Verdict) Err() error {
	switch v.Action {
	case ActionDefer:
		return &Error{Op: v.Filter, Class: Deferral, Reply: v.Reply}
	case ActionReject:
		return &Error{Op: v.Filter, Class: Rejection, Reply: v.Reply}
	case ActionDrop:
		return &Error{Op: v.Filter, Class: v.Reply.Class(), Reply: v.Reply, Close: true}
	}
	return nil
}

// The stages of a transaction, in order.
const (
	StageConnect     = "connect"
	StageHello       = "hello"
	StageReversePath = "reverse-path"
	StageRecipient   = "recipient"
	StageData        = "data"
	StageBody        = "body"
	StageEnd         = "end" // the Receiver's word
)

// The verdicts of servers, which are not those of a filter. They have names of
// filters all the same, so that a trace tells who has decided.

// NeedsTLS refuses MAIL in cleartext (RFC 3207, 4).
func NeedsTLS() Verdict {
	return serverVerdict(StageReversePath, "starttls", Reply{530, EnhancedCode{5, 7, 0}, "STARTTLS first"}, "STARTTLS is required")
}

// NeedsAuth refuses MAIL of somebody who has not authenticated (RFC 4954, 6).
func NeedsAuth() Verdict {
	return serverVerdict(StageReversePath, "auth", Reply{530, EnhancedCode{5, 7, 0}, "authentication required"}, "AUTH is required")
}

// TooManyRecipients refuses further recipients for now (RFC 5321, 4.5.3.1.10).
func TooManyRecipients(most int) Verdict {
	return serverVerdict(StageRecipient, "maxrecipients", Reply{452, EnhancedCode{4, 5, 3}, "too many recipients"}, "at most "+strconv.Itoa(most))
}

// TooBig refuses a message, or MAIL with its size (RFC 1870, 6).
func TooBig(stage string, most int64) Verdict {
	return serverVerdict(stage, "databytes", Reply{552, EnhancedCode{5, 3, 4}, "message too big"}, "at most "+strconv.FormatInt(most, 10)+" octets")
}

func serverVerdict(stage, filter string, r Reply, rule string) Verdict {
	v := Verdict{Stage: stage, Filter: filter, Action: ActionReject, Reply: r, Rule: rule}
	if r.Class() == Deferral {
		v.Action = ActionDefer
	}
	return v
}
