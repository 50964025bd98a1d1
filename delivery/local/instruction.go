package local

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// Kind is what an [Instruction] does.
type Kind uint8

// The kinds of instruction.
const (
	KindUnknown Kind = iota // a "+" line that means nothing to us
	KindMbox
	KindMaildir
	KindProgram
	KindForward
)

var kindNames = [...]string{"unknown", "mbox", "maildir", "program", "forward"}

// String returns the kind's name: mbox, maildir, program, forward.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[KindUnknown]
}

// Instruction is one line of a dot-qmail file.
type Instruction struct {
	Kind Kind

	// Arg is the file, the directory, the command, or the address.
	Arg string

	// To is the address of a forward as a path; it may lack a domain.
	To sqmail.Path

	// Line is the line's number, from 1.
	Line int
}

// parse reads the instructions in text, whose first line is 1. With
// forwardOnly, and behind a line "+list", there may be nothing but forwards.
// Any mistake in the text is a failure.
func parse(text []byte, forwardOnly bool) ([]Instruction, error) {
	var list []Instruction
	n := 0
	for line := range bytes.Lines(text) {
		n++
		s := strings.TrimRight(string(line), " \t\r\n")
		if s == "" {
			if n == 1 {
				return nil, fail(nil, "Uh-oh: first line of .qmail file is blank. (#4.2.1)")
			}
			continue
		}
		if s == "+list" {
			forwardOnly = true
			continue
		}
		if s[0] == '#' {
			continue
		}
		in, err := parseLine(s, n)
		if err != nil {
			return nil, err
		}
		if err := in.allowed(forwardOnly); err != nil {
			return nil, err
		}
		list = append(list, in)
	}
	return list, nil
}

// parseLine reads a line that is neither empty nor a comment.
func parseLine(s string, n int) (Instruction, error) {
	in := Instruction{Arg: s, Line: n}
	switch s[0] {
	case '+':
	case '|':
		in.Kind, in.Arg = KindProgram, s[1:]
	case '.', '/':
		in.Kind = KindMbox
		if strings.HasSuffix(s, "/") {
			in.Kind = KindMaildir
		}
	default:
		to, ok := parseForward(strings.TrimPrefix(s, "&"))
		if !ok {
			return in, fail(nil, "Uh-oh: .qmail has no valid address in line %s. (#4.2.1)", strconv.Itoa(n))
		}
		in.Kind, in.Arg, in.To = KindForward, to.Unquoted(), to
	}
	return in, nil
}

func (in Instruction) allowed(forwardOnly bool) error {
	if !forwardOnly {
		return nil
	}
	switch in.Kind {
	case KindMbox, KindMaildir:
		return fail(nil, "Uh-oh: .qmail has file delivery but has x bit set. (#4.7.0)")
	case KindProgram:
		return fail(nil, "Uh-oh: .qmail has prog delivery but has x bit set. (#4.7.0)")
	}
	return nil
}

// parseForward reads an address, quoted or in the unquoted form of qmail's
// envelopes, with or without domain, blanks and angle brackets around it. A
// line that would do something else but for a blank before it is a slip, not
// an address.
func parseForward(s string) (sqmail.Path, bool) {
	trimmed := strings.TrimLeft(s, " \t")
	if trimmed != s && trimmed != "" && strings.IndexByte("|./#&+", trimmed[0]) >= 0 {
		return sqmail.Path{}, false
	}
	if inner, found := strings.CutPrefix(trimmed, "<"); found {
		if trimmed, found = strings.CutSuffix(inner, ">"); !found {
			return sqmail.Path{}, false
		}
	}
	if p, err := sqmail.ParsePath(trimmed); err == nil {
		return p, !p.IsNull()
	}
	p := sqmail.PathOf(trimmed)
	if strings.ContainsAny(p.LocalPart(), `@,;<>()"`) {
		return p, false // two addresses, or a name with an address
	}
	checked := p
	if p.Domain == "" && !strings.HasSuffix(trimmed, "@") {
		checked.Domain = "host.invalid" // to be completed by the queue
	}
	_, err := sqmail.ParsePath(checked.String())
	return p, err == nil && p.LocalPart() != ""
}
