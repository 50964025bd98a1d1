package mailtest

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
)

// ReadMaildir returns the messages in a maildir's folders new and cur, in the
// order of their names. Their envelopes are what the header fields Return-Path
// and Delivered-To say. What is in tmp is not delivered, and not returned. A
// folder that is missing or cannot be read ends the test.
func ReadMaildir(t testing.TB, dir string) []*Message {
	t.Helper()
	type file struct{ folder, name string }
	var files []file
	for _, folder := range []string{"new", "cur"} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), ".") {
				files = append(files, file{folder, entry.Name()})
			}
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.name, b.name) })

	var messages []*Message
	for _, f := range files {
		m, err := readFile(filepath.Join(dir, f.folder, f.name))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

func readFile(name string) (*Message, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	m := &Message{Data: bytes.Clone(data), Time: info.ModTime()}
	if p, _, err := sqmail.ParseAnglePath(m.Header("Return-Path")); err == nil {
		m.Envelope.ReversePath = p
	}
	for _, to := range m.HeaderValues("Delivered-To") {
		m.Envelope.Recipients = append(m.Envelope.Recipients, sqmail.Recipient{Path: sqmail.PathOf(to)})
	}
	return m, nil
}
