package control

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// rules reads a rules file: its text, or the cdb that tcprules has made of it if
// that is what is named, or all there is. Nil: there is none that can be used.
func (s *source) rules(file string) *Rules {
	name, named := file, strings.HasSuffix(file, ".cdb")
	if !named {
		if text, found := s.read(file); found {
			return parseRules(file, text, func(p Problem) bool {
				s.add(p)
				return !s.enough(file)
			})
		} else if !s.missing(file) {
			return nil
		}
		name = file + ".cdb"
	}
	if info, err := s.statFile(name); err == nil && info.Size() > maxUsers && info.Mode().IsRegular() {
		s.stamps[name], s.broken[name] = stamp(info, err), true
		s.fatal(name, 0, "cannot be read: it is longer than %d MiB", maxUsers>>20)
		return nil
	}
	db := s.database(name)
	if db == nil {
		return nil
	}
	rules, err := rulesOf(name, db)
	delete(s.open, name) // it is not looked at again
	db.Close()
	if err != nil {
		s.broken[name] = true
		s.fatal(name, 0, "%v", err)
	}
	return rules
}

// rulesOf reads all records of a database of rules.
func rulesOf(name string, db *database) (*Rules, error) {
	if db.file.Records() > maxLines {
		return nil, fmt.Errorf("it has more than %d records", maxLines)
	}
	r := newRules()
	var wrong error
	err := db.file.Each(func(key, value []byte) bool {
		var rule *Rule
		if rule, wrong = ParseRuleRecord(key, value); wrong != nil {
			return false
		}
		rule.File = name
		_, wrong = r.add(rule) // of equal keys the first one counts
		return wrong == nil
	})
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	r.sortLengths()
	return r, nil
}

// ParseRuleRecord parses a record of a database of rules, as tcprules writes it:
// the key is the address; the value is nothing or "D" for deny, and then
// "+NAME=value" and a NUL for each variable. What it does not understand is an
// error, never a rule that allows. Spec: smtpd.md, 11.3.
func ParseRuleRecord(key, value []byte) (*Rule, error) {
	value, deny := bytes.CutPrefix(value, []byte{'D'})
	address, err := addressOfKey(string(key))
	if err != nil {
		return nil, err
	}
	rule := &Rule{Address: address, Allow: !deny}
	for len(value) > 0 {
		assignment, rest, ended := bytes.Cut(value, []byte{0})
		name, text, found := strings.Cut(string(assignment), "=")
		name, plus := strings.CutPrefix(name, "+")
		if !ended || !found || !plus || !validVariable(name) {
			return nil, fmt.Errorf("the value of the rule %.60q is damaged", key)
		}
		rule.Variables = append(rule.Variables, Variable{Name: name, Value: text})
		value = rest
	}
	return rule, nil
}

// addressOfKey returns a key as an address of the text. Some programs write a
// network as the bits of its prefix: "_" and those of IPv4, "^" and those of
// IPv6.
func addressOfKey(key string) (string, error) {
	if key == "" || key[0] != '_' && key[0] != '^' {
		return key, nil
	}
	raw := make([]byte, 4)
	if key[0] == '^' {
		raw = make([]byte, 16)
	}
	bits := key[1:]
	if len(bits) > 8*len(raw) || strings.Trim(bits, "01") != "" {
		return "", fmt.Errorf("%.60q is no address of a rule", key)
	}
	for i, bit := range []byte(bits) {
		raw[i/8] |= (bit - '0') << (7 - i%8)
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(addr, len(bits)).String(), nil
}
