package mailtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// Check is what a message must be like; its error says what it is instead.
type Check func(*Message) error

// AssertDelivered ends the test unless exactly one of the messages has the
// recipient to and passes all checks: mail that is lost fails the test, and
// mail that comes twice too. It returns the message.
func AssertDelivered(t testing.TB, messages []*Message, to string, checks ...Check) *Message {
	t.Helper()
	var found []*Message
	var report strings.Builder
	for i, m := range messages {
		why := examine(m, to, checks)
		if why == nil {
			found = append(found, m)
			why = fmt.Errorf("that is it")
		}
		fmt.Fprintf(&report, "\n%d. %v: %v", i+1, m, why)
	}
	if len(found) == 1 {
		return found[0]
	}
	t.Fatalf("%d messages to <%s> instead of one, among %d:%s", len(found), to, len(messages), report.String())
	return nil
}

// AssertNotDelivered ends the test if one of the messages has the recipient.
func AssertNotDelivered(t testing.TB, messages []*Message, to string) {
	t.Helper()
	for _, m := range messages {
		if m.To(to) {
			t.Fatalf("delivered: %v", m)
		}
	}
}

func examine(m *Message, to string, checks []Check) error {
	if !m.To(to) {
		return fmt.Errorf("not to <%s>", to)
	}
	for _, check := range checks {
		if err := check(m); err != nil {
			return err
		}
	}
	return nil
}

// FromPath checks the reverse-path; "" is the null path.
func FromPath(address string) Check {
	return func(m *Message) error {
		if p := m.Envelope.ReversePath; !p.Equal(sqmail.PathOf(address)) && !strings.EqualFold(p.String(), address) {
			return fmt.Errorf("from <%s>, not <%s>", p, address)
		}
		return nil
	}
}

// HasHeader checks that one of the header fields with the name has the value,
// as [Message.Header] returns it.
func HasHeader(name, value string) Check {
	return func(m *Message) error {
		values := m.HeaderValues(name)
		for _, v := range values {
			if v == value {
				return nil
			}
		}
		return fmt.Errorf("%s is %q, not %q", name, values, value)
	}
}

// HasText checks that the message's text contains part.
func HasText(part string) Check {
	return func(m *Message) error {
		if text := m.Text(); !strings.Contains(text, part) {
			return fmt.Errorf("%q is not in the text %.200q", part, text)
		}
		return nil
	}
}

// HasData checks that the message is this, octet for octet.
func HasData(data string) Check {
	return func(m *Message) error {
		if string(m.Data) != data {
			return fmt.Errorf("the message is %.500q", m.Data)
		}
		return nil
	}
}
