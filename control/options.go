package control

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the words that may stand in a variable, behind its address if it
// has one: a name alone, or name=value. given says that there was a "=".
type options map[string]func(value string, given bool) error

// set does what a word says.
func (o options) set(word string) error {
	name, value, given := strings.Cut(word, "=")
	set, known := o[name]
	if !known {
		return fmt.Errorf("%.60q is none of %s", word, strings.Join(slices.Sorted(maps.Keys(o)), ", "))
	}
	if err := set(value, given); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// all does what the words of text say.
func (o options) all(text string) error {
	for word := range strings.FieldsSeq(text) {
		if err := o.set(word); err != nil {
			return err
		}
	}
	return nil
}

// flag is an option without a value.
func flag(b *bool) func(string, bool) error {
	return func(_ string, given bool) error {
		if given {
			return errors.New("it has no value")
		}
		*b = true
		return nil
	}
}

// duration is an option in seconds, of 1 or more.
func duration(d *time.Duration, most time.Duration) func(string, bool) error {
	return func(v string, _ bool) error {
		n, err := digits(v, int64(most/time.Second))
		if err == nil && n == 0 {
			err = errors.New("it is 1 or more seconds")
		}
		*d = time.Duration(n) * time.Second
		return err
	}
}

// count is an option that is a number, of 1 or more.
func count[N int | int64](n *N, most int64) func(string, bool) error {
	return func(v string, _ bool) error {
		got, err := digits(v, most)
		if err == nil && got == 0 {
			err = errors.New("it is 1 or more")
		}
		*n = N(got)
		return err
	}
}

// score is an option that is a number above 0, with decimals.
func score(f *float64) func(string, bool) error {
	return func(v string, _ bool) (err error) {
		*f, err = strconv.ParseFloat(v, 64)
		if err != nil || math.IsInf(*f, 0) || !(*f > 0) {
			return fmt.Errorf("%.40q is no number above 0", v)
		}
		return nil
	}
}

// word is an option that is a word.
func word(s *string) func(string, bool) error {
	return func(v string, _ bool) error {
		if v == "" || !printable(v) {
			return errors.New("it is a word")
		}
		*s = v
		return nil
	}
}

// addressed takes the address off a value "ADDRESS [option…]", and does what
// the options say.
func (o options) addressed(value string, address *string) (err error) {
	first, rest := cutWord(value)
	if *address, err = daemonAddress(first); err != nil {
		return err
	}
	return o.all(rest)
}

// daemonAddress returns where a daemon listens, in the form of the packages
// that ask it: "unix:/path" or "/path" as "/path", and host:port as it is.
func daemonAddress(word string) (string, error) {
	path := strings.TrimPrefix(word, "unix:")
	if path != word || strings.HasPrefix(word, "/") {
		if !strings.HasPrefix(path, "/") || len(path) > 107 { // sun_path
			return "", fmt.Errorf("%.120q is no absolute path of a socket, of at most 107 octets", path)
		}
		return path, nil
	}
	host, port, err := net.SplitHostPort(word)
	if err != nil || host == "" {
		return "", fmt.Errorf("%.60q is neither unix:/path nor host:port", word)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%.60q has no port from 1 to 65535", word)
	}
	return word, nil
}
