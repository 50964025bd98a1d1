package compile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sqmail/sqmail/filter"
)

// maxLine bounds a line of a text, in octets.
const maxLine = 64 << 10

// maxErrors is how many wrong lines are told of.
const maxErrors = 50

// lines calls f with each line of a text that says something.
func lines(text io.Reader, f func(line string) error) error {
	scanner := bufio.NewScanner(text)
	scanner.Buffer(nil, maxLine)
	var failed []error
	n := 0
	for scanner.Scan() {
		n++
		line := strings.TrimRight(scanner.Text(), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		switch err := f(line); {
		case err == nil:
		case !errors.Is(err, errLine):
			return err
		case len(failed) < maxErrors:
			failed = append(failed, &filter.LineError{Line: n, Err: err})
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		failed = append(failed, &filter.LineError{Line: n + 1, Err: fmt.Errorf("is longer than %d octets", maxLine)})
	} else if scanner.Err() != nil {
		return scanner.Err()
	}
	return errors.Join(failed...)
}

// errLine is in the chain of errors that are a line's.
var errLine = errors.New("line has no meaning")

// lineError is an error of a line.
type lineError string

func (e lineError) Error() string   { return string(e) }
func (lineError) Is(err error) bool { return err == errLine }

func wrong(format string, args ...any) error { return lineError(fmt.Sprintf(format, args...)) }

// MoreRcptHosts puts a record for each domain in lower case, as qmail-newmrh
// does with control/morercpthosts.
func MoreRcptHosts(text io.Reader, put func(key, value []byte) error) error {
	return lines(text, func(line string) error {
		if strings.ContainsAny(line, " \t@*") {
			return wrong("%.80q is no domain", line)
		}
		return put([]byte(lower(line)), nil)
	})
}

// Recipients puts a record ":" + address for each address in lower case, as
// qmail-recipients does with users/recipients.
func Recipients(text io.Reader, put func(key, value []byte) error) error {
	return lines(text, func(line string) error {
		if at := strings.LastIndexByte(line, '@'); at <= 0 || at == len(line)-1 || line[0] == ':' {
			return wrong("%.80q is no address", line)
		}
		return put([]byte(":"+lower(line)), nil)
	})
}

// BadMIMETypes puts a record for the first nine characters of each line, as
// qmail-badmimetypes does with control/badmimetypes. What follows is a comment.
func BadMIMETypes(text io.Reader, put func(key, value []byte) error) error {
	return signatures(text, 9, put)
}

// BadLoaderTypes puts a record for the first five characters of each line, as
// qmail-badloadertypes does with control/badloadertypes.
func BadLoaderTypes(text io.Reader, put func(key, value []byte) error) error {
	return signatures(text, 5, put)
}

const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

func signatures(text io.Reader, length int, put func(key, value []byte) error) error {
	return lines(text, func(line string) error {
		if len(line) < length || strings.Trim(line[:length], base64Alphabet) != "" {
			return wrong("%.80q does not begin with %d characters of base64", line, length)
		}
		return put([]byte(line[:length]), nil)
	})
}

// lower folds ASCII case.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
