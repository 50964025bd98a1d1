package filter

// RuleKeys is a [Database] in memory whose keys stand in a file, so that a
// verdict can say where.
type RuleKeys map[string]RuleKey

// RuleKey is what a key stands for: the value that Get returns, and the rule.
type RuleKey struct {
	Value []byte
	Rule
}

// Get looks a key up.
func (db RuleKeys) Get(key []byte) ([]byte, bool, error) {
	k, ok := db[string(key)]
	return k.Value, ok, nil
}

// Rule returns the rule of a key, whose text is the key.
func (db RuleKeys) Rule(key []byte) Rule {
	r := db[string(key)].Rule
	r.Text = string(key)
	return r
}

// sum tells databases with different keys apart.
func (db RuleKeys) sum() uint64 {
	var sum uint64
	for key, k := range db {
		sum ^= sumOf(key, k.Value)
	}
	return sum
}

// ruleOf returns the rule of a key in a database: with its place, if the
// database knows it (Rule(key []byte) Rule).
func ruleOf(db Database, key []byte) Rule {
	if located, ok := db.(interface{ Rule(key []byte) Rule }); ok {
		return located.Rule(key)
	}
	return Rule{Text: string(key)}
}
