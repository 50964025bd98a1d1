package milter

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/internal/field"
)

var (
	rejected  = sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "rejected by policy"}
	deferred  = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "try again later"}
	discarded = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "message refused by policy"}
	longField = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 6, 0}, Text: "sorry, header too long"}
)

// verdict is what an answer means.
func verdict(act *milter.Action) (sqmail.Verdict, error) {
	switch act.Code {
	case milter.ActContinue, milter.ActAccept:
		return sqmail.Verdict{}, nil
	case milter.ActReject:
		return sqmail.Verdict{Action: sqmail.ActionReject, Reply: rejected, Rule: "reject"}, nil
	case milter.ActTempFail:
		return sqmail.Verdict{Action: sqmail.ActionDefer, Reply: deferred, Rule: "tempfail"}, nil
	case milter.ActDiscard:
		return sqmail.Verdict{Action: sqmail.ActionReject, Reply: discarded, Rule: "discard"}, nil
	case milter.ActReplyCode:
		return replyVerdict(act.SMTPCode, act.SMTPText)
	}
	return sqmail.Verdict{}, fmt.Errorf("%w: %q", errAnswer, act.Code)
}

// replyVerdict is the verdict of a milter that has its own reply.
func replyVerdict(code int, text string) (sqmail.Verdict, error) {
	v := sqmail.Verdict{Rule: "reply " + strconv.Itoa(code), Reply: parseReply(code, text)}
	switch {
	case code == 421:
		v.Action = sqmail.ActionDrop
	case code/100 == 4:
		v.Action = sqmail.ActionDefer
	case code/100 == 5:
		v.Action = sqmail.ActionReject
	default:
		return sqmail.Verdict{}, fmt.Errorf("%w: reply code %d", errAnswer, code)
	}
	return v, nil
}

// parseReply takes the text behind a reply code apart: an enhanced status code,
// if there is one, text, and further lines, which have both codes in front. A
// percent sign is written twice.
func parseReply(code int, text string) sqmail.Reply {
	const most = 10
	r := sqmail.Reply{Code: code, Enhanced: sqmail.EnhancedCode{code / 100, 7, 1}}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		if len(lines) == most {
			break
		}
		line = strings.TrimSuffix(line, "\r")
		if len(lines) > 0 {
			line = strings.TrimPrefix(line, strconv.Itoa(code))
			line = strings.TrimPrefix(strings.TrimPrefix(line, "-"), " ")
		}
		word, rest, _ := strings.Cut(line, " ")
		var e sqmail.EnhancedCode
		if e.UnmarshalText([]byte(word)) == nil && e[0] == code/100 && e.String() == word && inRange(e) {
			r.Enhanced, line = e, rest
		}
		lines = append(lines, field.ASCII(strings.ReplaceAll(line, "%%", "%"), 200))
	}
	r.Text = strings.Join(lines, "\n")
	return r
}

// inRange keeps RFC 3463, 2: three digits at most.
func inRange(e sqmail.EnhancedCode) bool {
	return e[1] >= 0 && e[1] < 1000 && e[2] >= 0 && e[2] < 1000
}

// modifications gathers what a milter wants to be changed.
type modifications struct {
	counts map[string]uint32 // of the fields of the message, by name in lower case
	header []byte            // to add
	undone []string          // what cannot be done
}

func (m *modifications) apply(act *milter.ModifyAction) {
	switch act.Code {
	case milter.ActAddHeader, milter.ActInsertHeader:
		m.add(act)
	case milter.ActChangeHeader:
		switch there := act.HeaderIndex <= m.counts[strings.ToLower(act.HeaderName)]; {
		case there:
			m.cannot("change " + act.HeaderName)
		case act.HeaderValue != "":
			m.add(act)
		}
	case milter.ActQuarantine:
		m.cannot(quarantine)
	case milter.ActReplBody:
		m.cannot("replace the body")
	case milter.ActChangeFrom:
		m.cannot("change the reverse-path")
	default:
		m.cannot("change the recipients")
	}
}

const quarantine = "quarantine"

// add adds a field. Milters may leave out the blank behind the colon, or not.
func (m *modifications) add(act *milter.ModifyAction) {
	m.header = field.Append(m.header, act.HeaderName, strings.TrimPrefix(act.HeaderValue, " "))
}

func (m *modifications) cannot(what string) {
	const most = 10
	if len(m.undone) < most || what == quarantine {
		m.undone = append(m.undone, field.ASCII(what, 100))
	}
}
