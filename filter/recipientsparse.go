package filter

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ParseRecipients reads the lines of control/recipients (filter.md, 7.1):
//
//	!dom          all recipients of dom exist
//	!*            all recipients of domains that no line above has named exist
//	dom:cdb       a database for dom and the domains below it
//	@dom:cdb      for dom alone
//	dom|program   a program with arguments, likewise
//	*:cdb         for every domain; so does *|program
//	cdb           for every domain that no line above has named
//
// Lines that are empty or begin with "#" are skipped. The rules have no Source
// yet; see [RecipientRule.Locate]. The error joins a [*LineError] for each line
// that has no meaning.
func ParseRecipients(lines []Rule) ([]RecipientRule, error) {
	var rules []RecipientRule
	var failed []error
	for _, line := range lines {
		text := strings.TrimRight(line.Text, " \t\r\n")
		if text == "" || text[0] == '#' {
			continue
		}
		r := RecipientRule{Rule: line}
		if err := r.parse(text); err != nil {
			failed = append(failed, &LineError{line.File, line.Line, err})
			continue
		}
		rules = append(rules, r)
	}
	return rules, errors.Join(failed...)
}

// LineError is what is wrong with a line of a file.
type LineError struct {
	File string // "" if it is not known
	Line int
	Err  error
}

// Error returns "file:line: what is wrong".
func (e *LineError) Error() string {
	if e.File == "" {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap returns what is wrong.
func (e *LineError) Unwrap() error { return e.Err }

func (r *RecipientRule) parse(text string) error {
	if text == "!*" {
		r.Accept, r.Unnamed = true, true
		return nil
	}
	if domain, found := strings.CutPrefix(text, "!"); found {
		r.Accept, r.Exact = true, true
		return r.forDomain(domain)
	}
	at := separator(text)
	if at < 0 {
		r.Unnamed, r.Database = true, text
		return nil
	}
	whom, source := text[:at], text[at+1:]
	if text[at] == '|' {
		r.Program = strings.Fields(source)
	} else {
		r.Database = strings.TrimLeft(source, " \t")
	}
	if r.Database == "" && len(r.Program) == 0 {
		return errors.New("names neither a database nor a program")
	}
	if whom == "*" {
		return nil
	}
	whom, r.Exact = strings.CutPrefix(whom, "@")
	return r.forDomain(whom)
}

// separator returns the index of the ":" or "|" behind the domain. An IPv6
// address literal holds colons.
func separator(text string) int {
	from := 0
	if strings.HasPrefix(text, "[") || strings.HasPrefix(text, "@[") {
		from = max(strings.IndexByte(text, ']'), 0)
	}
	at := strings.IndexAny(text[from:], ":|")
	if at < 0 {
		return -1
	}
	return from + at
}

func (r *RecipientRule) forDomain(domain string) error {
	if domain == "" || strings.ContainsAny(domain, "@*!/ \t") || domain[0] == '.' {
		return fmt.Errorf("%.80q is no domain", domain)
	}
	r.Domain = lower(domain)
	return nil
}

// Locate sets r.Source to what the line names: [*UserDatabase], [*Assignments]
// for a database whose file is named assign.cdb, or [*Program]. home is where
// names that are not absolute begin. It opens and starts nothing, and leaves a
// rule without a source, and one that has its Source already, as it is.
func (r *RecipientRule) Locate(home string) {
	switch {
	case r.Accept || r.Source != nil:
	case len(r.Program) > 0:
		r.Source = &Program{Name: r.Program[0], Args: r.Program[1:], Dir: home}
	case r.Database != "":
		path := r.Database
		if !filepath.IsAbs(path) {
			path = filepath.Join(home, path)
		}
		if filepath.Base(path) == "assign.cdb" {
			r.Source = &Assignments{Users: &CDB{Path: path}}
		} else {
			r.Source = &UserDatabase{Users: &CDB{Path: path}}
		}
	}
}
