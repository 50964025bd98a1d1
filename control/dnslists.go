package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/sqmail/sqmail/filter"
)

// DNSListSettings say whether and how clients are looked up in lists in the
// DNS (RBL). The zero value does not.
type DNSListSettings struct {
	// File is the name of the file below control with the lists; "": none.
	File string

	// The others are those of filter.DNSLists.
	Reject, Strict, Tag, Connect bool
	Timeout                      time.Duration
}

// setDNSLists takes the words behind RBL.
func (f *FilterSettings) setDNSLists(v string) error {
	f.DNSLists = DNSListSettings{}
	if v == "-" {
		return nil
	}
	l := DNSListSettings{File: "rbl"}
	err := options{
		"lists": word(&l.File), "reject": flag(&l.Reject), "strict": flag(&l.Strict), "tag": flag(&l.Tag),
		"connect": flag(&l.Connect), "timeout": duration(&l.Timeout, time.Minute),
	}.all(v)
	switch {
	case err != nil:
		return err
	case !validFileName(l.File):
		return fmt.Errorf("%.60q is not the name of a file in control", l.File)
	case l.Tag && (l.Connect || l.Reject):
		return fmt.Errorf("tag refuses nobody: it goes with neither reject nor connect")
	}
	f.DNSLists = l
	return nil
}

// setBlocked looks at RBLSMTPD, which filter.DNSLists finds in the variables of
// the session.
func (f *FilterSettings) setBlocked(v string) error {
	if !printable(v) || len(v) > 300 {
		return fmt.Errorf("it is at most 300 printable characters of ASCII")
	}
	f.Blocked = true
	return nil
}

// dnsLists reads the file of lists that settings name, once for all who name
// it. complain is about the variable.
func (s *source) dnsLists(c *Config, name string, complain func(bool, string, ...any)) {
	file := "control/" + name
	if _, known := c.dnsLists[name]; known || name == "" {
		return
	}
	text, found := s.read(file)
	if !found {
		if s.missing(file) {
			complain(true, "RBL: %s does not exist: write the lists into it", file)
		}
		return
	}
	lists := []filter.DNSList{}
	for _, e := range parseList(file, text, s.complainOf(file)) {
		list, err := parseDNSList(e)
		if err != nil {
			s.fatal(file, e.Line, "%v", err)
			continue
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		s.warn(file, 0, "names no list")
	}
	if c.dnsLists == nil {
		c.dnsLists = map[string][]filter.DNSList{}
	}
	c.dnsLists[name] = lists
}

// parseDNSList parses a line:
//
//	zone        whoever is listed is deferred, with the list's words (TXT)
//	zone:text   with this text in their place (A; "%IP%" is the client)
//	-zone       whoever is listed is rejected; a text may stand behind it
//	!zone       whoever is listed is let in
func parseDNSList(e Entry) (filter.DNSList, error) {
	zone, text, _ := strings.Cut(e.Key, ":")
	list := filter.DNSList{Text: strings.TrimSpace(text), File: e.File, Line: e.Line}
	zone, list.Allow = strings.CutPrefix(zone, "!")
	if !list.Allow {
		zone, list.Reject = strings.CutPrefix(zone, "-")
	}
	list.Base = lower(strings.Trim(zone, " \t."))
	switch {
	case !validHost(list.Base) || len(list.Base) > 180: // an IPv6 address stands in front
		return list, fmt.Errorf("%.80q is no domain of a list", zone)
	case list.Allow && list.Text != "":
		return list, fmt.Errorf("a list of those who may come has no text")
	case !printable(list.Text) || len(list.Text) > 300:
		return list, fmt.Errorf("the text is longer than 300 characters, or not printable ASCII")
	}
	return list, nil
}

// dnsLists makes the filter, nil if there is nothing to ask.
func (f *Filters) dnsLists(s *Settings) filter.Filter {
	l := s.DNSLists
	if l.File == "" && !s.Blocked {
		return nil
	}
	return &filter.DNSLists{
		Lists: f.config.dnsLists[l.File], Resolver: f.parts.Resolver,
		Reject: l.Reject, FailClosed: l.Strict, TagOnly: l.Tag, AtConnect: l.Connect, Timeout: l.Timeout,
	}
}
