package filter_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

var errBroken = errors.New("broken: /var/secret")

// broken fails whatever it is asked.
type broken struct{}

func (broken) Get([]byte) ([]byte, bool, error) { return nil, true, errBroken }
func (broken) LookupMX(context.Context, string) ([]*net.MX, error) {
	return []*net.MX{{Host: "x"}}, errBroken
}
func (broken) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.IPv4Unspecified()}, errBroken
}
func (broken) LookupTXT(context.Context, string) ([]string, error) { return []string{"x"}, errBroken }
func (broken) HasMailbox(context.Context, *filter.Session, sqmail.Path) (bool, error) {
	return true, errBroken
}
func (broken) Check(context.Context, netip.Addr, string, sqmail.Path) (string, string, error) {
	return "fail?", "", errBroken
}

// Whatever breaks behind a filter, mail is neither let in nor rejected, and the
// client does not hear of it.
func TestUnknownErrorsBehindEveryFilterAreDeferrals(t *testing.T) {
	hello := filter.NewBadHello(nil)
	hello.Mode, hello.Resolver = filter.HelloMode{Address: true}, broken{}
	exchanger := filter.NewBadHello(nil)
	exchanger.Mode, exchanger.Resolver = filter.HelloMode{Exchanger: true}, broken{}
	noResolver := filter.NewBadHello(nil)
	noResolver.Mode = filter.HelloMode{Address: true}
	hosts := &filter.RcptHosts{Listed: func(context.Context, string) (bool, error) { return true, errBroken }}
	of := func(source filter.Mailboxes) filter.Filter {
		return &filter.Recipients{Rules: []filter.RecipientRule{{Source: source}, {Accept: true}}}
	}
	for name, f := range map[string]filter.Filter{
		"badhelo A":              hello,
		"badhelo M":              exchanger,
		"badhelo, no resolver":   noResolver,
		"mfdnscheck":             &filter.SenderDomain{Resolver: broken{}},
		"mfdnscheck no resolver": &filter.SenderDomain{},
		"rcpthosts":              hosts,
		"recipients":             of(broken{}),
		"recipients cdb":         of(&filter.UserDatabase{Users: broken{}}),
		"recipients assign":      of(&filter.Assignments{Users: broken{}}),
		"recipients program":     of(&filter.Program{Name: "/no/such/program"}),
		"recipients, no source":  of(nil),
		"spf":                    &filter.SPF{Checker: broken{}, Mode: 2},
		"spf, no checker":        &filter.SPF{Mode: 1},
		"rblsmtpd -c":            &filter.DNSLists{Lists: []filter.DNSList{{Base: "l.test"}}, Resolver: broken{}, FailClosed: true},
		"rblsmtpd, no resolver":  &filter.DNSLists{Lists: []filter.DNSList{{Base: "l.test"}}},
	} {
		refusedFor(t, name, f, peerAt("192.0.2.7"))
	}
	relay := peerAt("192.0.2.7")
	relay.User = "joe"
	refusedFor(t, "localmfcheck rcpthosts", &filter.LocalSender{Hosts: hosts}, relay)
	refusedFor(t, "localmfcheck rules", &filter.LocalSender{Check: filter.SenderByRules, Rules: broken{}}, relay)
}

func refusedFor(t *testing.T, name string, f filter.Filter, peer *sqmail.Peer) {
	t.Helper()
	peer.Hello = "h.test"
	_, err := transactionOf(t, f, peer, "a@b.test", 1)
	if err == nil || sqmail.ClassOf(err) != sqmail.Deferral {
		t.Errorf("%s: %v", name, err)
	}
	if strings.Contains(sqmail.ReplyFor(err).String(), "secret") {
		t.Errorf("%s: the client hears %q", name, sqmail.ReplyFor(err))
	}
}

func TestDatabasesOfSignaturesThatBreakAreDeferrals(t *testing.T) {
	message := base64Header + "\n\nTVqQAAMAA\n"
	for _, f := range []filter.BodyFilter{&filter.BadMIMEType{Types: broken{}}, &filter.BadLoaderType{Types: broken{}, First: 'T'}} {
		err := dialogue(t, &filter.Chain{Filters: []filter.Filter{f}}, new(sqmail.Envelope), message)
		if !errors.Is(err, errBroken) || sqmail.ClassOf(err) != sqmail.Deferral {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}
