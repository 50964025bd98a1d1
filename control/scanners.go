package control

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/milter"
	"github.com/sqmail/sqmail/filter/mimefilter"
	"github.com/sqmail/sqmail/filter/scan"
	"github.com/sqmail/sqmail/internal/wildmat"
)

// MilterSettings are about one milter (MILTER).
type MilterSettings struct {
	// Address is the path of a Unix socket, or host:port.
	Address string

	// The others are those of milter.Filter.
	Timeout, EndTimeout            time.Duration
	Strangers, Pass, IgnoreChanges bool
}

// The greatest values of options.
const (
	maxScanTime = 9 * time.Minute // a client waits for ten (RFC 5321, 4.5.3.2.6)
	maxScanSize = 1 << 40
)

func (f *FilterSettings) setClamd(v string) error {
	f.Clamd = nil
	if v == "-" {
		return nil
	}
	c := new(scan.Clamd)
	err := options{
		"timeout": duration(&c.Timeout, maxScanTime), "maxsize": count(&c.MaxSize, maxScanSize),
		"strangers": flag(&c.Strangers), "pass": flag(&c.Pass),
	}.addressed(v, &c.Address)
	if err == nil {
		f.Clamd = c
	}
	return err
}

func (f *FilterSettings) setSpamd(v string) error {
	f.Spamd = nil
	if v == "-" {
		return nil
	}
	c := new(scan.Spamd)
	err := options{
		"timeout": duration(&c.Timeout, maxScanTime), "maxsize": count(&c.MaxSize, maxScanSize),
		"rejectat": score(&c.RejectAt), "user": word(&c.User),
		"strangers": flag(&c.Strangers), "pass": flag(&c.Pass),
	}.addressed(v, &c.Address)
	if err == nil {
		f.Spamd = c
	}
	return err
}

func (f *FilterSettings) setRspamd(v string) error {
	f.Rspamd = nil
	if v == "-" {
		return nil
	}
	c := new(scan.Rspamd)
	err := options{
		"timeout": duration(&c.Timeout, maxScanTime), "maxsize": count(&c.MaxSize, maxScanSize),
		"rejectat": score(&c.RejectAt), "tagonly": flag(&c.TagOnly),
		"strangers": flag(&c.Strangers), "pass": flag(&c.Pass),
	}.addressed(v, &c.Address)
	if err == nil {
		f.Rspamd = c
	}
	return err
}

// setMilters takes several milters; the options behind each are its own.
func (f *FilterSettings) setMilters(v string) error {
	f.Milters = nil
	if v == "-" {
		return nil
	}
	var list []MilterSettings
	for first, rest := cutWord(v); first != ""; first, rest = cutWord(rest) {
		if address, err := daemonAddress(first); err == nil {
			list = append(list, MilterSettings{Address: address})
			continue
		} else if len(list) == 0 {
			return err
		}
		m := &list[len(list)-1]
		err := options{
			"timeout": duration(&m.Timeout, maxScanTime), "endtimeout": duration(&m.EndTimeout, maxScanTime),
			"strangers": flag(&m.Strangers), "pass": flag(&m.Pass), "ignorechanges": flag(&m.IgnoreChanges),
		}.set(first)
		if err != nil {
			return err
		}
	}
	if len(list) == 0 {
		return errors.New("the address is missing")
	}
	f.Milters = list
	return nil
}

func (f *FilterSettings) setMIME(v string) error {
	f.MIME = nil
	if v == "-" {
		return nil
	}
	m := new(mimefilter.Filter)
	err := options{
		"depth": count(&m.MaxDepth, 256), "parts": count(&m.MaxParts, 100_000),
		"header": count(&m.MaxHeader, 16<<20), "fieldlines": count(&m.MaxFieldLines, 100_000),
		"line": count(&m.MaxLine, 1<<30), "strangers": flag(&m.Strangers),
	}.all(v)
	if err == nil {
		f.MIME = m
	}
	return err
}

// mimeRules reads which attachments are refused: lines "name:PATTERN" and
// "type:PATTERN".
func (s *source) mimeRules(c *Config) {
	const file = "control/mimefilter"
	var names, types []filter.Rule
	entries, _ := s.list("mimefilter")
	for _, e := range entries {
		key, pattern, _ := cutKey(e.Key)
		rule := filter.Rule{Text: pattern, File: e.File, Line: e.Line}
		switch err := checkPattern(pattern); {
		case err != nil:
			s.fatal(file, e.Line, "%v", err)
		case lower(key) == "name":
			names = append(names, rule)
		case lower(key) == "type":
			types = append(types, rule)
		default:
			s.fatal(file, e.Line, "%.60q is neither name:PATTERN nor type:PATTERN", e.Key)
		}
	}
	c.mimeNames, c.mimeTypes = mimefilter.NewPatterns(names), mimefilter.NewPatterns(types)
}

// checkPattern returns an error for a pattern that can match nothing.
func checkPattern(pattern string) error {
	if pattern == "" || !wildmat.Valid(pattern) {
		return fmt.Errorf("%.80q is no pattern: nothing, a \"[\" without \"]\", or a \"\\\" at the end", pattern)
	}
	return nil
}

// scanners makes the filters that look at messages with the help of others.
func (f *Filters) scanners(s *Settings) (list []filter.Filter) {
	text := s.Texts["CONTENT"]
	if s.MIME != nil {
		m := *s.MIME
		m.Names, m.Types, m.Text = f.config.mimeNames, f.config.mimeTypes, text
		list = append(list, &m)
	}
	if s.Clamd != nil {
		c := *s.Clamd
		c.Text, c.Log = text, f.parts.Log
		list = append(list, &c)
	}
	if s.Scanner.Program != "" {
		list = append(list, f.scanner(s))
	}
	if s.Spamd != nil {
		c := *s.Spamd
		c.Text, c.TempDir, c.Log = text, f.parts.TempDir, f.parts.Log
		list = append(list, &c)
	}
	if s.Rspamd != nil {
		c := *s.Rspamd
		c.Text, c.TempDir, c.HostName, c.Log = text, f.parts.TempDir, f.config.HeloHost, f.parts.Log
		list = append(list, &c)
	}
	return append(list, f.milters(s)...)
}

// milters makes the milters. Each is one for all who ask it so.
func (f *Filters) milters(s *Settings) (list []filter.Filter) {
	for _, m := range s.Milters {
		label := ""
		if len(s.Milters) > 1 {
			label = "milter " + m.Address
		}
		type key struct {
			MilterSettings
			label string
		}
		list = append(list, f.share(key{m, label}, func() filter.Filter {
			return &milter.Filter{
				Label: label, Address: m.Address, HostName: cmp.Or(f.config.Me, f.config.HeloHost),
				Timeout: m.Timeout, EndTimeout: m.EndTimeout,
				Strangers: m.Strangers, Pass: m.Pass, IgnoreChanges: m.IgnoreChanges, Log: f.parts.Log,
			}
		}))
	}
	return list
}
