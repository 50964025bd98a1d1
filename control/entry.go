package control

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// Entry is a line of a list or a map.
type Entry struct {
	// Key is the entry of a list, or what stands before the colon in a map.
	Key string `json:"key"`

	// Value is what stands behind the colon. It may be "".
	Value string `json:"value,omitempty"`

	// File is the file's name below the home, Line where the entry stands in it,
	// from 1.
	File string `json:"file"`
	Line int    `json:"line"`
}

// Keys returns the keys of entries.
func Keys(entries []Entry) []string {
	keys := make([]string, len(entries))
	for i, e := range entries {
		keys[i] = e.Key
	}
	return keys
}

// complain is told of something wrong in a line: its number, whether it is
// fatal, and what.
type complain func(line int, fatal bool, text string)

// parseList reads the format that lists and maps share: a line for each entry,
// trailing blanks cut; empty lines, and those whose first octet is "#", are
// skipped. Beyond the original, CR at the end and blanks in front are cut too.
func parseList(file string, text []byte, warn complain) []Entry {
	var entries []Entry
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line[0] == '#' {
			continue
		}
		key := strings.TrimRight(string(line), " \t\r\n")
		if trimmed := strings.TrimLeft(key, " \t"); trimmed != key {
			warn(number, false, "blanks in front of the entry are ignored")
			key = trimmed
		}
		if !utf8.ValidString(key) {
			warn(number, false, "the entry is not UTF-8, and matches nothing")
		}
		if key != "" {
			entries = append(entries, Entry{Key: key, File: file, Line: number})
		}
	}
	return entries
}

// parseMap reads a map: a list whose entries are "key:value". The key ends at
// the first colon, or in "[2001:db8::1]:value" behind the bracket. Of keys that
// are equal but for case the last one counts, and takes the place of the first.
func parseMap(file string, text []byte, warn complain) []Entry {
	var entries []Entry
	index := map[string]int{}
	for _, e := range parseList(file, text, warn) {
		key, value, found := cutKey(e.Key)
		if !found {
			warn(e.Line, false, "a line without colon is ignored")
			continue
		}
		e.Key, e.Value = key, value
		folded := lower(key)
		if i, known := index[folded]; known {
			warn(entries[i].Line, false, "the entry is overridden by an equal one below it")
			entries[i] = e
			continue
		}
		index[folded] = len(entries)
		entries = append(entries, e)
	}
	return entries
}

func cutKey(line string) (key, value string, found bool) {
	if strings.HasPrefix(line, "[") {
		if end := strings.Index(line, "]:"); end > 0 {
			return line[:end+1], line[end+2:], true
		}
	}
	return strings.Cut(line, ":")
}

// lower folds ASCII case, the only one that domains have.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// parseLine reads the format of files with one value: the first line, without
// trailing blanks. There are no comments.
func parseLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	return strings.TrimRight(string(line), " \t\r")
}
