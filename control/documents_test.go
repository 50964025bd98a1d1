package control

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// docs/control-files.md tells of every control file and variable, and of none
// that it has an effect if it has not.
func TestDocumentTellsOfFilesAndVariables(t *testing.T) {
	text, err := os.ReadFile("../docs/control-files.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows, later strings.Builder // the tables; what has no effect yet
	idle := false
	for line := range strings.Lines(string(text)) {
		lower := strings.ToLower(line)
		switch {
		case strings.HasPrefix(line, "|"):
			rows.WriteString(line)
			idle = false
		case strings.Contains(lower, "effect yet"):
			idle = true
		case strings.TrimSpace(line) == "" || line[0] == '#':
			idle = false
		}
		if idle {
			later.WriteString(line)
		}
	}
	told := func(where, name string) bool { return strings.Contains(where, "`"+name+"`") }
	for name, what := range knownFiles {
		switch name {
		case "accounts", "authuser", "concurrencyincoming", "rslbserver", "spfbehavior":
			continue
		}
		if strings.HasSuffix(name, ".cdb") {
			continue
		}
		if told(later.String(), name) != what.later {
			t.Errorf("control/%s: later is %v, and the document says otherwise", name, what.later)
		}
		if !what.later && !told(rows.String(), name) {
			t.Errorf("control/%s stands in no table", name)
		}
	}
	names := slices.Clone(laterVariables)
	for _, list := range [][]string{keysOf(variables), keysOf(filterVariables), keysOf(replyTexts)} {
		for _, name := range list {
			if !told(rows.String(), name) {
				t.Errorf("%s stands in no table", name)
			}
			names = append(names, name)
		}
	}
	for _, name := range names {
		if isLater := slices.Contains(laterVariables, name); told(later.String(), name) != isLater {
			t.Errorf("%s: later is %v, and the document says otherwise", name, isLater)
		}
	}
}

func keysOf[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}
