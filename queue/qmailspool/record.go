package qmailspool

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Status is the state of a recipient.
type Status uint8

// The states.
const (
	Pending   Status = iota // to be tried (again)
	Delivered               // done, and not in the bounce
	Failed                  // given up; Report says why
)

// maxRecords is the most that a file of records, or of reports, may hold.
const maxRecords = 64 << 20

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = fmt.Errorf("larger than %d octets", maxRecords)
	errCut        = errors.New("the last record has no end")
	errNoSender   = errors.New("there is no sender in it")
)

// records calls f for each record: a letter and a value, ended by NUL.
func records(b []byte, f func(letter byte, value string) error) error {
	for len(b) > 0 {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			return errCut
		}
		if end == 0 {
			return errors.New("there is an empty record in it")
		}
		if err := f(b[0], string(b[1:end])); err != nil {
			return err
		}
		b = b[end+1:]
	}
	return nil
}

func unknownRecord(letter byte) error { return fmt.Errorf("unknown record %q", letter) }

// parseTodo reads an envelope that has not been preprocessed: uUID, pPID,
// Fsender, Trecipient… (queue.md, 2).
func parseTodo(b []byte) (sender string, recipients []string, err error) {
	found := false
	err = records(b, func(letter byte, value string) error {
		switch letter {
		case 'u', 'p':
		case 'F':
			sender, found = value, true
		case 'T':
			recipients = append(recipients, value)
		default:
			return unknownRecord(letter)
		}
		return nil
	})
	if err == nil && !found {
		err = errNoSender
	}
	return sender, recipients, err
}

// parseInfo reads a file of info: Fsender. What follows is not looked at, as
// qmail-send does not.
func parseInfo(b []byte) (sender string, err error) {
	if len(b) == 0 || b[0] != 'F' {
		return "", errNoSender
	}
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		return "", errCut
	}
	return string(b[1:end]), nil
}

// parseChannel reads a file of local or remote: Trecipient (to do) or
// Drecipient (done).
func parseChannel(b []byte) (recipients []Recipient, err error) {
	err = records(b, func(letter byte, value string) error {
		r := Recipient{Address: value}
		switch letter {
		case 'T':
		case 'D':
			r.Status = Delivered
		default:
			return unknownRecord(letter)
		}
		recipients = append(recipients, r)
		return nil
	})
	return recipients, err
}

// paragraph is what a bounce will say of one recipient.
type paragraph struct {
	address string // as it is shown: without the prefix of a virtual domain, LF as "_"
	report  string // lines that end in LF
}

// parseBounce reads a file of bounce: paragraphs that begin with <address>:
// and end with an empty line (queue.md, 9). What stands in front of the first
// one, and paragraphs of another kind, are returned as rest; they belong to
// nobody.
func parseBounce(b []byte) (found []paragraph, rest string) {
	var others strings.Builder
	for text := string(b); text != ""; {
		var p string
		p, text = cutParagraph(text)
		first, report, _ := strings.Cut(p, "\n")
		address, isRecipient := strings.CutSuffix(first, ">:")
		if !isRecipient || address == "" || address[0] != '<' {
			others.WriteString(p)
			continue
		}
		found = append(found, paragraph{address[1:], report})
	}
	return found, others.String()
}

// cutParagraph returns the lines up to the first empty one, and what follows
// that. An empty line right behind the first line ends it too: an empty
// report has no line.
func cutParagraph(text string) (p, rest string) {
	text = strings.TrimLeft(text, "\n")
	if end := strings.Index(text, "\n\n"); end >= 0 {
		return text[:end+1], text[end+2:]
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n" // cut off while it was written
	}
	return text, ""
}
