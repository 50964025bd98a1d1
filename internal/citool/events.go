package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of build-output
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// show reads events. It prints packages and failures to out, writes a line
// "pass package test" or "fail package test" to results, and returns how many
// tests and packages failed.
func show(in io.Reader, out, results io.Writer) (failed int, err error) {
	output := make(map[string][]string) // by package and test, as long as it runs
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				out.Write(line) // what go itself says
			} else if e.handle(output, out, results) {
				failed++
			}
		}
		if err == io.EOF {
			return failed, nil
		}
		if err != nil {
			return failed, err
		}
	}
}

// handle does with an event what is to be done, and reports whether it is a
// failure.
func (e event) handle(output map[string][]string, out, results io.Writer) bool {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		io.WriteString(out, e.Output)
	case "output":
		output[key] = append(output[key], e.Output)
	case "pass", "skip":
		delete(output, key)
		if e.Test != "" && e.Action == "pass" {
			fmt.Fprintf(results, "pass %s\n", key)
		}
		if e.Test == "" {
			fmt.Fprintf(out, "ok   %-48s %6.1fs\n", e.Package, e.Elapsed)
		}
	case "fail":
		io.WriteString(out, strings.Join(output[key], ""))
		delete(output, key)
		if e.Test == "" {
			e.unfinished(output, out, results)
			fmt.Fprintf(out, "FAIL %-48s %6.1fs\n", e.Package, e.Elapsed)
		}
		fmt.Fprintf(results, "fail %s\n", key)
		return true
	}
	return false
}

// unfinished shows what the tests said that ran when their package crashed or
// was out of time, and counts them as failed.
func (e event) unfinished(output map[string][]string, out, results io.Writer) {
	for key, lines := range output {
		if pkg, test, _ := strings.Cut(key, " "); pkg == e.Package && test != "" {
			io.WriteString(out, strings.Join(lines, ""))
			fmt.Fprintf(results, "fail %s\n", key)
			delete(output, key)
		}
	}
}

// count counts the tests in a file that show has written. A package that
// failed counts only if none of its tests did: it was not built, or it crashed.
func count(lines *bufio.Scanner) (passed, failed int, err error) {
	bad := make(map[string]bool)    // by package and test
	guilty := make(map[string]bool) // packages with a test that failed
	for lines.Scan() {
		result, key, _ := strings.Cut(lines.Text(), " ")
		bad[key] = bad[key] || result == "fail"
		if pkg, test, _ := strings.Cut(key, " "); bad[key] && test != "" {
			guilty[pkg] = true
		}
	}
	for key, isBad := range bad {
		pkg, test, _ := strings.Cut(key, " ")
		switch {
		case !isBad:
			passed++
		case test != "" || !guilty[pkg]:
			failed++
		}
	}
	return passed, failed, lines.Err()
}
