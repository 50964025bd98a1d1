// Command citool reads what go test -json writes, shows what a person wants to
// read of it, and keeps count:
//
//	go test -json ./... | citool RESULTS
//	citool -count RESULTS
//
// The first form prints a line per package and the output of each test that
// failed, adds the result of every test to the file RESULTS, and fails if a
// test did. The second prints "N passed, N failed" over all that was added: a
// test that ran several times counts once, as failed if it ever failed.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 2:
		err = watch(os.Stdin, os.Stdout, os.Args[1])
	case len(os.Args) == 3 && os.Args[1] == "-count":
		err = printCount(os.Stdout, os.Args[2])
	default:
		err = fmt.Errorf("usage: citool RESULTS | citool -count RESULTS")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "citool:", err)
		os.Exit(1)
	}
}

// watch shows a test run and appends its results to a file.
func watch(in io.Reader, out io.Writer, results string) error {
	f, err := os.OpenFile(results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	failed, err := show(in, out, f)
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d failed", failed)
	}
	return f.Close()
}

func printCount(out io.Writer, results string) error {
	f, err := os.Open(results)
	if err != nil {
		return err
	}
	defer f.Close()
	passed, failed, err := count(bufio.NewScanner(f))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	return nil
}
