package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodRun = `
{"Action":"start","Package":"a"}
{"Action":"output","Package":"a","Test":"TestOne","Output":"noise\n"}
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"pass","Package":"a","Test":"TestTwo/sub"}
{"Action":"skip","Package":"a","Test":"TestThree"}
{"Action":"pass","Package":"a","Elapsed":1.5}
`

const badRun = `
{"Action":"pass","Package":"a","Test":"TestOne"}
{"Action":"output","Package":"a","Test":"TestTwo/sub","Output":"it is broken\n"}
{"Action":"fail","Package":"a","Test":"TestTwo/sub"}
{"Action":"output","Package":"a","Output":"FAIL\n"}
{"Action":"fail","Package":"a","Elapsed":0.1}
{"Action":"build-output","ImportPath":"b","Output":"b.go:1: syntax error\n"}
{"Action":"fail","Package":"b","FailedBuild":"b"}
not JSON
`

func TestWatchKeepsCountOverRuns(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	if err := watch(strings.NewReader(goodRun), &out, results); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "noise") || !strings.Contains(got, "ok   a ") {
		t.Errorf("a good run shows %q", got)
	}
	expectCount(t, results, "2 passed, 0 failed\n")

	out.Reset()
	if err := watch(strings.NewReader(badRun), &out, results); err == nil {
		t.Error("a bad run is good")
	}
	for _, want := range []string{"it is broken", "FAIL a", "syntax error", "FAIL b", "not JSON"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("a bad run does not show %q:\n%s", want, out.String())
		}
	}
	expectCount(t, results, "1 passed, 2 failed\n") // TestOne; TestTwo/sub and package b
}

// A test that is out of time has no result of its own.
func TestWatchShowsWhatDidNotEnd(t *testing.T) {
	results := filepath.Join(t.TempDir(), "results")
	var out bytes.Buffer
	err := watch(strings.NewReader(`
{"Action":"run","Package":"a","Test":"TestSlow"}
{"Action":"output","Package":"a","Test":"TestSlow","Output":"panic: test timed out\n"}
{"Action":"output","Package":"b","Test":"TestOther","Output":"goes on\n"}
{"Action":"fail","Package":"a","Elapsed":600}
`), &out, results)
	if err == nil || !strings.Contains(out.String(), "panic: test timed out") || strings.Contains(out.String(), "goes on") {
		t.Errorf("%v, shown: %s", err, out.String())
	}
	expectCount(t, results, "0 passed, 1 failed\n")
}

func expectCount(t *testing.T, results, want string) {
	t.Helper()
	var out bytes.Buffer
	if err := printCount(&out, results); err != nil || out.String() != want {
		t.Errorf("count %q, %v; want %q", out.String(), err, want)
	}
}

func TestCountOfNoFileFails(t *testing.T) {
	if err := printCount(os.Stdout, filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error")
	}
}
