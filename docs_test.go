package sqmail_test

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ARCHITECTURE.md names a test for each reason to have an SMTP engine of our
// own; CONTRIBUTING.md and SECURITY.md name some too. They must be there.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	tests := make(map[string]bool) // "smtpd.TestX"
	for _, p := range packages(t) {
		for _, f := range p.files {
			for _, decl := range f.syntax.Decls {
				if fn, ok := decl.(*ast.FuncDecl); ok {
					tests[p.path+"."+fn.Name.Name] = true
				}
			}
		}
	}
	names := regexp.MustCompile("`([a-z0-9/]*)\\.((?:Test|Fuzz|Example|Benchmark)[A-Za-z0-9_]*)`")
	dialogues := regexp.MustCompile("`([a-z0-9/]+/testdata/[a-z0-9/.]+): ([^`]+)`")
	found := 0
	for _, document := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "README.md"} {
		text := readDocument(t, document)
		for _, m := range names.FindAllStringSubmatch(text, -1) {
			found++
			if !tests[m[1]+"."+m[2]] {
				t.Errorf("%s names %s.%s, which does not exist", document, m[1], m[2])
			}
		}
		for _, m := range dialogues.FindAllStringSubmatch(text, -1) {
			found++
			if script := readDocument(t, m[1]); !strings.Contains("\n"+script, "\n== "+m[2]+"\n") {
				t.Errorf("%s names the dialogue %q, which is not in %s", document, m[2], m[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d tests are named: has the notation changed?", found)
	}
}

// README's table says what works. A room that is missing there is hidden, and
// one that is not there would be a lie.
func TestReadmeNamesEveryRoom(t *testing.T) {
	readme := readDocument(t, "README.md")
	for _, p := range packages(t) {
		root, _, _ := strings.Cut(p.path, "/")
		if root == "" || p.name == "main" || p.onlyTests() || strings.Contains("/"+p.path+"/", "/internal/") {
			continue
		}
		if !strings.Contains(readme, "[`"+root+"`]("+root+")") {
			t.Errorf("the table in README.md says nothing of %s", root)
		}
	}
}

// docs/events.md names the events of the packages. Each is a text in the code.
func TestEventsAreThoseOfTheCode(t *testing.T) {
	texts := make(map[string]bool)
	for _, p := range packages(t) {
		for _, f := range p.files {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING && !strings.HasSuffix(f.name, "_test.go") {
					text, _ := strconv.Unquote(lit.Value)
					texts[text] = true
				}
				return true
			})
		}
	}
	column, found := 0, 0
	for line := range strings.Lines(readDocument(t, "docs/events.md")) {
		cells := strings.Split(line, "|")
		if i := slices.Index(cells, " msg "); i >= 0 {
			column = i
		}
		if column == 0 || len(cells) <= column {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+[^` ])`").FindAllStringSubmatch(cells[column], -1) {
			if found++; !texts[m[1]] && m[1] != "trouble" {
				t.Errorf("docs/events.md: no event %q", m[1])
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d events are named", found)
	}
}

func TestLinksInDocumentsLead(t *testing.T) {
	documents, err := filepath.Glob("*.md")
	if err != nil || len(documents) == 0 {
		t.Fatal("no documents", err)
	}
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, document := range documents {
		for _, m := range link.FindAllStringSubmatch(readDocument(t, document), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
