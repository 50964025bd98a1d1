package control

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is something wrong, or doubtful, about a home.
type Problem struct {
	// File is the file's name below the home: "control/locals".
	File string `json:"file"`

	// Line is where in the file, from 1; 0 means the file as a whole.
	Line int `json:"line,omitempty"`

	// Text says what is wrong, and what to do. It never shows a secret.
	Text string `json:"text"`

	// Fatal says that a configuration with it is not used. Others are
	// warnings.
	Fatal bool `json:"fatal"`
}

// String returns "control/locals:3: text", and for warnings "control/locals:3:
// warning: text".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if !p.Fatal {
		b.WriteString(": warning")
	}
	b.WriteString(": " + p.Text)
	return b.String()
}

// Error is why a home cannot be used: everything that is fatal about it.
type Error struct {
	// Problems is not empty.
	Problems []Problem
}

// maxShown bounds the text of an Error.
const maxShown = 10

// Error returns the first ten problems, one to a line.
func (e *Error) Error() string {
	var lines []string
	for _, p := range e.Problems {
		if len(lines) == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Problems)-maxShown))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// failure returns the fatal problems as an error, nil if there are none.
func failure(problems []Problem) error {
	fatal := slices.DeleteFunc(slices.Clone(problems), func(p Problem) bool { return !p.Fatal })
	if len(fatal) == 0 {
		return nil
	}
	return &Error{Problems: fatal}
}
