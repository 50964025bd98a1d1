package main

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The documents for operators tell of every command and of each of its flags,
// and of no command or flag that is not there.
func TestDocumentsTellOfCommandsAndFlags(t *testing.T) {
	text := documents(t)
	flags := map[string]bool{}
	for _, c := range commands {
		if !regexp.MustCompile("(sqmaild |`)" + c.name + `\b`).MatchString(text) {
			t.Errorf("the documents say nothing of sqmaild %s", c.name)
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		if err := c.run(t.Context(), stdio{strings.NewReader(""), io.Discard, io.Discard}, fs, []string{"-help"}); err != flag.ErrHelp {
			t.Errorf("%s -help: %v", c.name, err)
		}
		fs.VisitAll(func(f *flag.Flag) { flags[f.Name] = true })
	}
	for name := range flags {
		if !regexp.MustCompile(`[ \[` + "`" + `(]-` + name + `\b`).MatchString(text) {
			t.Errorf("the documents say nothing of -%s", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)sqmaild ((?:queue|user) [a-z-]+|[a-z]+)(( +-[a-z]+)*)`).FindAllStringSubmatch(commandLines(text), -1) {
		if cmd, _ := find(strings.Fields(m[1])); cmd == nil && m[1] != "help" && m[1] != "queue" && m[1] != "user" {
			t.Errorf("the documents tell of sqmaild %s, which does not exist", m[1])
		}
		for _, name := range strings.Fields(m[2]) {
			if !flags[name[1:]] && name != "-help" {
				t.Errorf("the documents tell of sqmaild %s %s: there is no such flag", m[1], name)
			}
		}
	}
}

// They tell of the variables that programs in .qmail files find.
func TestDocumentsTellOfTheEnvironmentOfPrograms(t *testing.T) {
	source, err := os.ReadFile("../../delivery/local/env.go")
	if err != nil {
		t.Fatal(err)
	}
	text := documents(t)
	names := regexp.MustCompile(`\{"([A-Z]+)"`).FindAllSubmatch(source, -1)
	for _, m := range names {
		if !strings.Contains(text, "`"+string(m[1])+"`") {
			t.Errorf("the documents say nothing of %s", m[1])
		}
	}
	if len(names) < 10 {
		t.Errorf("only %d variables found: has the notation changed?", len(names))
	}
}

// documents returns the text of README and of what is in docs.
func documents(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(names) == 0 {
		t.Fatal("no documents", err)
	}
	var all strings.Builder
	for _, name := range append(names, "../../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// commandLines returns what stands in code, where "sqmaild" is a command.
func commandLines(text string) string {
	var all strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "    ") {
			all.WriteString(line)
		}
	}
	for _, m := range regexp.MustCompile("`[^`\n]*`").FindAllString(text, -1) {
		all.WriteString(m + "\n")
	}
	return all.String()
}
