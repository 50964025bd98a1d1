package filter

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/internal/wildmat"
)

// Patterns is a list of wildmat patterns, evaluated as qmail does: from the
// least to the most specific, the last match wins. A pattern behind "!" votes
// no, any other yes. Spec: filter.md, 1.2 and 1.3.
//
// Local parts are compared exactly, domains without regard to ASCII case: in a
// pattern what follows its last "@" is the domain. A pattern without "@" is
// tried on the text as it is, and with the domain in lower case.
//
// Most lists hold plain words, and words with a star at one end: those are
// found by hashing, so that a list of 100,000 costs no more than a short one.
// Nil Patterns match nothing. They do not change, and may be used
// concurrently.
type Patterns struct {
	rules []Rule
	exact map[string]int // pattern to the last rule that has it
	ends  map[string]int // of "*text": text to rule
	begin map[string]int // of "text*"
	rest  []pattern      // the others, the last rule first
}

type pattern struct {
	rule int
	text string
}

// NewPatterns returns the patterns of rules, which it keeps. Those that are
// not well formed match nothing; see [Patterns.Malformed].
func NewPatterns(rules []Rule) *Patterns {
	p := &Patterns{rules: rules, exact: map[string]int{}, ends: map[string]int{}, begin: map[string]int{}}
	for i, r := range rules {
		p.add(i, foldDomain(strings.TrimPrefix(r.Text, "!")))
	}
	slices.SortFunc(p.rest, func(a, b pattern) int { return cmp.Compare(b.rule, a.rule) })
	return p
}

func (p *Patterns) add(i int, text string) {
	const special = `*?\[`
	switch {
	case !strings.ContainsAny(text, special):
		p.exact[text] = i
	case text[0] == '*' && !strings.ContainsAny(text[1:], special):
		p.ends[text[1:]] = i
	case text[len(text)-1] == '*' && !strings.ContainsAny(text[:len(text)-1], special):
		p.begin[text[:len(text)-1]] = i
	default:
		p.rest = append(p.rest, pattern{i, text})
	}
}

// Malformed returns the rules whose patterns are not well formed.
func (p *Patterns) Malformed() (list []Rule) {
	for _, r := range p.rest {
		if !wildmat.Valid(r.text) {
			list = append(list, p.rules[r.rule])
		}
	}
	return list
}

// Match returns the last rule that matches text, and its vote. found is false
// if there is none.
func (p *Patterns) Match(text string) (rule Rule, yes, found bool) {
	if p == nil {
		return Rule{}, false, false
	}
	folded := foldDomain(text)
	best := p.last(folded, -1, true)
	if folded != text {
		best = p.last(text, best, false)
	}
	if best < 0 {
		return Rule{}, false, false
	}
	rule = p.rules[best]
	return rule, !strings.HasPrefix(rule.Text, "!"), true
}

// last returns the greatest rule above best that matches text; with is false
// for patterns without "@" alone.
func (p *Patterns) last(text string, best int, with bool) int {
	try := func(m map[string]int, key string) {
		if i, ok := m[key]; ok && i > best && (with || !strings.Contains(key, "@")) {
			best = i
		}
	}
	try(p.exact, text)
	for i := 0; i <= len(text) && len(p.ends) > 0; i++ {
		try(p.ends, text[i:])
	}
	for i := 0; i <= len(text) && len(p.begin) > 0; i++ {
		try(p.begin, text[:i])
	}
	for _, r := range p.rest {
		if r.rule < best {
			break
		}
		if (with || !strings.Contains(r.text, "@")) && wildmat.Match(r.text, text) {
			return r.rule
		}
	}
	return best
}

// foldDomain puts what follows the last "@" into lower case.
func foldDomain(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	domain := lower(s[at:])
	if domain == s[at:] {
		return s
	}
	return s[:at] + domain
}
