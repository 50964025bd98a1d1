package filter

import (
	"hash/fnv"
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
// All patterns are tried at a time, and plain words are found by hashing, so
// that a list of 100,000 of any form costs about as much as a short one. Nil
// Patterns match nothing. They do not change, and may be used concurrently.
type Patterns struct {
	rules     []Rule
	exact     map[string]int32 // word to the last rule that has it
	addresses *wildmat.Set     // patterns with "@", by the number of the rule
	texts     *wildmat.Set     // those without
	malformed []Rule
}

// NewPatterns returns the patterns of rules, which it keeps. Those that are
// not well formed match nothing; see [Patterns.Malformed].
func NewPatterns(rules []Rule) *Patterns { return newPatterns(rules, false) }

// newPatterns leaves, if there is a [List] of the same rules that is asked
// before, plain words out that vote yes: the List has them.
func newPatterns(rules []Rule, listed bool) *Patterns {
	p := &Patterns{rules: rules, exact: make(map[string]int32)}
	var addresses, texts wildmat.Builder
	for i, r := range rules {
		text, not := strings.CutPrefix(r.Text, "!")
		text = foldDomain(text)
		to := &texts
		if strings.IndexByte(text, '@') >= 0 {
			to = &addresses
		}
		switch isWord := !strings.ContainsAny(text, `*?[\`); {
		case isWord && listed && !not:
		case isWord:
			p.exact[text] = int32(i)
		case !to.Add(text, int32(i)):
			p.malformed = append(p.malformed, r)
		}
	}
	p.addresses, p.texts = addresses.Set(), texts.Set()
	return p
}

// Sum tells lists of different patterns apart.
func (p *Patterns) Sum() uint64 {
	if p == nil {
		return 0
	}
	h := fnv.New64a()
	for _, r := range p.rules {
		h.Write([]byte(r.Text))
		h.Write([]byte{'\n'})
	}
	return h.Sum64()
}

// Malformed returns the rules whose patterns are not well formed.
func (p *Patterns) Malformed() []Rule { return p.malformed }

// Match returns the last rule that matches text, and its vote. found is false
// if there is none.
func (p *Patterns) Match(text string) (rule Rule, yes, found bool) {
	if p == nil {
		return Rule{}, false, false
	}
	folded := foldDomain(text)
	best := int32(-1)
	if i, ok := p.exact[folded]; ok {
		best = i
	}
	best = p.addresses.Best(folded, best)
	best = p.texts.Best(folded, best)
	if folded != text {
		best = p.texts.Best(text, best)
	}
	if best < 0 {
		return Rule{}, false, false
	}
	rule = p.rules[best]
	return rule, !strings.HasPrefix(rule.Text, "!"), true
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
