package tcprules

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
)

// maxLine bounds a line of a text, in octets.
const maxLine = 64 << 10

// Compile puts a record for each rule of a text, in their order: the address
// as key, and as value nothing, or "D" for deny, and then "+NAME=value" and a
// NUL for each variable. Ranges of octets are put as single addresses, host
// names in lower case. A network is put as "192.0.2.0/24", which [Rules] looks
// up and the original does not know.
//
// Lines that are wrong are told of as in package compile: joined, each a
// [*filter.LineError]. An error of text or put ends the work.
func Compile(text io.Reader, put func(key, value []byte) error) error {
	scanner := bufio.NewScanner(text)
	scanner.Buffer(nil, maxLine)
	var failed []error
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimRight(scanner.Text(), " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		keys, value, err := record(line)
		if err != nil {
			failed = append(failed, &filter.LineError{Line: n, Err: err})
			continue
		}
		for _, key := range keys {
			if err := put([]byte(key), value); err != nil {
				return err
			}
		}
	}
	return errors.Join(append(failed, scanner.Err())...)
}

// record returns the keys and the value of a rule.
func record(line string) (keys []string, value []byte, err error) {
	rule, err := control.ParseRule(line)
	if err != nil {
		return nil, nil, err
	}
	if !rule.Allow {
		value = append(value, 'D')
	}
	for _, v := range rule.Variables {
		if strings.IndexByte(v.Value, 0) >= 0 {
			return nil, nil, fmt.Errorf("the value of %s holds a NUL", v.Name)
		}
		value = fmt.Appendf(value, "+%s=%s\x00", v.Name, v.Value)
	}
	keys, err = keysOf(rule.Address)
	return keys, value, err
}

// keysOf returns the keys that an address stands for.
func keysOf(address string) ([]string, error) {
	if strings.IndexByte(address, '/') >= 0 {
		net, err := netip.ParsePrefix(address)
		if err != nil {
			return nil, fmt.Errorf("%.60q is no network", address)
		}
		return []string{net.Masked().String()}, nil
	}
	info, where := "", address
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		info, where = address[:at+1], address[at+1:]
	}
	if strings.HasPrefix(where, "=") {
		return []string{info + strings.ToLower(where)}, nil
	}
	if where == "" && info == "" {
		return []string{""}, nil
	}
	if strings.IndexByte(where, ':') >= 0 {
		key, err := key6(where)
		return []string{info + key}, err
	}
	keys, err := compile.Octets(where)
	for i := range keys {
		if err == nil {
			keys[i], err = key4(keys[i])
		}
		keys[i] = info + keys[i]
	}
	return keys, err
}

// key6 returns the key of an address, or of a prefix that ends with "::".
func key6(where string) (string, error) {
	addr, err := netip.ParseAddr(where)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return "", fmt.Errorf("%.60q is no address", where)
	}
	if groups, isPrefix := strings.CutSuffix(where, "::"); isPrefix {
		n := 0
		if groups != "" {
			n = strings.Count(groups, ":") + 1
		}
		return group6(addr, n), nil
	}
	return addr.String(), nil
}

// key4 returns the key of an address, or of a prefix that ends with a dot.
func key4(where string) (string, error) {
	text, isPrefix := strings.CutSuffix(where, ".")
	octets := strings.Split(text, ".")
	if len(octets) > 4 || isPrefix == (len(octets) == 4) {
		return "", fmt.Errorf("%.60q is no address, and no prefix that ends with a dot", where)
	}
	for i, octet := range octets {
		n, err := strconv.ParseUint(octet, 10, 8)
		if err != nil {
			return "", fmt.Errorf("%.60q is no octet", octet)
		}
		octets[i] = strconv.FormatUint(n, 10)
	}
	key := strings.Join(octets, ".")
	if isPrefix {
		key += "."
	}
	return key, nil
}
