package control

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/internal/wildmat"
)

// recipients reads which recipients exist. Without a file all do.
func (s *source) recipients(c *Config) {
	const file = "control/recipients"
	text, found := s.read(file)
	if !found {
		return
	}
	c.recipients = []filter.RecipientRule{}
	for lines := range slices.Chunk(rules(parseList(file, text, s.complainOf(file))), 1000) {
		if s.enough(file) {
			return
		}
		parsed, err := filter.ParseRecipients(lines)
		for _, wrong := range lineErrors(err) {
			s.fatal(file, wrong.Line, "%v", wrong.Err)
		}
		s.locate(c, parsed)
		c.recipients = append(c.recipients, parsed...)
	}
}

// mailFromRules reads which addresses relay clients may send from: the text, or
// else the database that was made of it.
func (s *source) mailFromRules(c *Config) {
	const file = "control/mailfromrules"
	text, found := s.read(file)
	if !found {
		if db := s.database(file + ".cdb"); db != nil && s.missing(file) {
			c.mailFromRules = db
		}
		return
	}
	keys, n := filter.RuleKeys{}, 0
	for line := range bytes.Lines(text) {
		n++
		err := compile.MailFromRules(bytes.NewReader(line), func(key, value []byte) error {
			if _, known := keys[string(key)]; !known { // the first of equal keys counts, as in a cdb
				keys[string(key)] = filter.RuleKey{Value: bytes.Clone(value), Rule: filter.Rule{File: file, Line: n}}
			}
			return nil
		})
		for _, wrong := range lineErrors(err) {
			s.fatal(file, n, "%v", wrong.Err)
		}
	}
	c.mailFromRules = keys
}

// lineErrors takes an error of joined *filter.LineErrors apart.
func lineErrors(err error) (list []*filter.LineError) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, lineErrors(e)...)
		}
		return list
	}
	if e, ok := errors.AsType[*filter.LineError](err); ok {
		return []*filter.LineError{e}
	}
	if err != nil {
		list = append(list, &filter.LineError{Err: err})
	}
	return list
}

// filterFiles reads the files of the filters.
func (s *source) filterFiles(c *Config) {
	s.recipients(c)
	s.mailFromRules(c)
	s.mimeRules(c)
	c.BadHello, _ = s.list("badhelo")
	c.BadMIMETypes = s.keysOf("badmimetypes", 9)
	c.BadLoaderTypes = s.keysOf("badloadertypes", 5)
	c.badHello = filter.NewBadHello(rules(c.BadHello))
	c.badMailFrom = filter.NewBadMailFrom(c.BadMailFromRules(), "")
	c.badRcptTo = filter.NewBadRcptTo(c.BadRcptToRules(), "")
	for _, list := range [][]Entry{c.BadHello, c.BadMailFrom, c.BadRcptTo} {
		for _, e := range list {
			if !wildmat.Valid(strings.TrimPrefix(e.Key, "!")) {
				s.fatal(e.File, e.Line, "%.80q is no pattern: a \"[\" without \"]\", or a \"\\\" at the end", e.Key)
			}
		}
	}
}
