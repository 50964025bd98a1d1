package delivery

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/sqmail/sqmail"
)

// Plan is how a recipient would be reached, and why.
type Plan struct {
	sqmail.Routing

	// Steps holds the entries that decided, in order. What no entry decided
	// went by the default: remote, to the mail exchangers.
	Steps []Step `json:"steps"`
}

// Step is one table entry that had a say.
type Step struct {
	// Table is the name of the entry's file in control.
	Table string `json:"table"`

	// Key is the entry's key, as it was written; Value what it says, relays
	// as host;port without credentials.
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`

	// Input is what was looked up.
	Input string `json:"input"`

	// File and Line are where the entry stands, if that is known.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// Explain decides as Route does, and tells by which entries. The error is
// Route's; the Plan holds the steps up to it.
func (r *Router) Explain(env *sqmail.Envelope, to sqmail.Path) (Plan, error) {
	var p Plan
	routing, err := r.route(env, to, &p)
	p.Routing = routing
	return p, err
}

// note adds a step to a plan. A nil plan forgets it.
func (p *Plan) note(r *Router, s Step) {
	if p == nil {
		return
	}
	if r.Origin != nil {
		s.File, s.Line = r.Origin(s.Table, s.Key)
	}
	p.Steps = append(p.Steps, s)
}

// noteRelay adds the step of an entry that names a relay, without secrets.
func (p *Plan) noteRelay(r *Router, table, input string, hit entry[sqmail.Relay]) {
	if p == nil {
		return
	}
	s := Step{Table: table, Key: hit.key, Input: input}
	if hit.value.Host != "" {
		s.Value = destinationOf(hit.value)
	}
	p.note(r, s)
}

// String returns the steps, one to a line, and where they lead. Control
// characters, which addresses may hold, are shown as "?".
func (p Plan) String() string {
	var b strings.Builder
	line := func(words ...string) {
		b.WriteString(strings.Map(visible, strings.Join(words, " ")) + "\n")
	}
	for _, s := range p.Steps {
		if s.Value == "" {
			line(s.Input+":", s.Table, strconv.Quote(s.Key))
		} else {
			line(s.Input+":", s.Table, strconv.Quote(s.Key), "->", s.Value)
		}
	}
	if p.Route.Channel != "" {
		line(p.Route.Channel, p.Deliver.Unquoted(), "by", p.Route.Destination)
	}
	return b.String()
}

func visible(r rune) rune {
	if unicode.IsControl(r) {
		return '?'
	}
	return r
}
