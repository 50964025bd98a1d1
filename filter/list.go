package filter

// Rule is a line of a list, with the place where it stands.
type Rule struct {
	Text string
	File string // "" if it was not read from a file
	Line int
}

// List is a list of rules that can be looked up without regard to ASCII case. A nil List is
// empty. It does not change, and may be used concurrently.
type List struct {
	rules []Rule
	exact map[uint64]int32 // by the hash of the text in lower case, the first of equals
	clash map[string]int32 // by that text, where another one has the same hash
	seen  bloom            // of the keys of exact: nearly all look-ups find nothing
}

// NewList returns a list of rules, which it keeps.
func NewList(rules []Rule) *List {
	l := &List{rules: rules, exact: make(map[uint64]int32, len(rules)), seen: newBloom(len(rules))}
	for i, r := range rules {
		l.add(lower(r.Text), int32(i))
	}
	return l
}

// add enters a rule. Maps of numbers, unlike those of texts, cost the garbage
// collector nothing.
func (l *List) add(key string, i int32) {
	h := l.seen.hash(key)
	if other, known := l.exact[h]; !known {
		l.exact[h] = i
		l.seen.add(h)
	} else if lower(l.rules[other].Text) != key {
		if l.clash == nil {
			l.clash = make(map[string]int32)
		}
		if _, known := l.clash[key]; !known {
			l.clash[key] = i
		}
	}
}

// ListOf returns a list of rules that stand in no file.
func ListOf(texts ...string) *List {
	rules := make([]Rule, len(texts))
	for i, text := range texts {
		rules[i].Text = text
	}
	return NewList(rules)
}

// Lookup returns the first rule that is equal to text but for case.
func (l *List) Lookup(text string) (Rule, bool) {
	if l == nil {
		return Rule{}, false
	}
	if len(l.rules) == 0 {
		return Rule{}, false
	}
	key := lower(text)
	h := l.seen.hash(key)
	if !l.seen.has(h) {
		return Rule{}, false
	}
	i, ok := l.exact[h]
	if ok && lower(l.rules[i].Text) != key {
		i, ok = l.clash[key]
	}
	if !ok {
		return Rule{}, false
	}
	return l.rules[i], true
}

// Len returns the number of rules.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.rules)
}

// lower folds ASCII case, the only one that addresses and domains have.
func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return lowerFrom([]byte(s), i)
		}
	}
	return s
}

func lowerFrom(b []byte, i int) string {
	lowered(b[i:])
	return string(b)
}

// lowered folds the case of b in its place.
func lowered(b []byte) []byte {
	for i := range b {
		if 'A' <= b[i] && b[i] <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return b
}
