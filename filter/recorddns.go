package filter

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// DNS is what filters look up, all together. *net.Resolver and package
// resolver's Client fit.
type DNS interface {
	Resolver
	ListResolver
}

// RecordDNS returns a DNS that asks dns, and lets a [Chain] keep the answers in
// the Trace of the session for which it is asked: give it to the filters. In a
// [Chain.Replay] it answers from the Trace alone, with [ErrNotRecorded] if that
// has no answer. Without a Chain it is dns; of nil it makes nil. It has
// LookupAddr, too, if dns has.
func RecordDNS(dns DNS) DNS {
	if dns == nil {
		return nil
	}
	return recordedDNS{dns}
}

type recordedDNS struct{ dns DNS }

// LookupMX is dns's.
func (r recordedDNS) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	return lookUp(ctx, "MX "+lower(name), name, formatMX, parseMX, func() ([]*net.MX, error) { return r.dns.LookupMX(ctx, name) })
}

// LookupNetIP is dns's.
func (r recordedDNS) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	return lookUp(ctx, strings.ToUpper(network)+" "+lower(host), host, netip.Addr.String, netip.ParseAddr,
		func() ([]netip.Addr, error) { return r.dns.LookupNetIP(ctx, network, host) })
}

// LookupTXT is dns's.
func (r recordedDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	return lookUp(ctx, "TXT "+lower(name), name, formatTXT, parseTXT, func() ([]string, error) { return r.dns.LookupTXT(ctx, name) })
}

// LookupAddr is dns's, if that has it.
func (r recordedDNS) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	dns, ok := r.dns.(interface {
		LookupAddr(ctx context.Context, addr string) ([]string, error)
	})
	if !ok {
		return nil, errNoResolver
	}
	return lookUp(ctx, "PTR "+addr, addr, formatTXT, parseTXT, func() ([]string, error) { return dns.LookupAddr(ctx, addr) })
}

const (
	answerNotFound = "not found"
	answerOthers   = "temporary failure"
)

// lookUp asks, or recalls what was answered.
func lookUp[T any](ctx context.Context, question, name string, format func(T) string, parse func(string) (T, error), ask func() ([]T, error)) ([]T, error) {
	if recorderOf(ctx) == nil {
		return ask()
	}
	var list []T
	var failed error
	asked := false
	a, err := recall(ctx, question, func() sqmail.Answer {
		asked = true
		var a sqmail.Answer
		list, failed = ask()
		for _, data := range list {
			a.Data = append(a.Data, format(data))
		}
		a.Err = answerError(failed)
		return a
	})
	switch {
	case asked:
		return list, failed
	case err != nil:
		return nil, err
	case a.Err != "":
		return nil, &net.DNSError{Err: a.Err, Name: name, IsNotFound: a.Err == answerNotFound, IsTemporary: a.Err != answerNotFound}
	}
	for _, data := range a.Data {
		value, err := parse(data)
		if err != nil {
			return nil, errors.Join(ErrNotRecorded, err)
		}
		list = append(list, value)
	}
	return list, nil
}

func answerError(err error) string {
	switch {
	case err == nil:
		return ""
	case notFound(err):
		return answerNotFound
	}
	return answerOthers
}

func formatMX(mx *net.MX) string { return strconv.Itoa(int(mx.Pref)) + " " + mx.Host }

func parseMX(s string) (*net.MX, error) {
	pref, host, _ := strings.Cut(s, " ")
	n, err := strconv.ParseUint(pref, 10, 16)
	return &net.MX{Host: host, Pref: uint16(n)}, err
}

// A text may hold any octets; JSON's strings cannot.
func formatTXT(s string) string { return strconv.QuoteToASCII(s) }

func parseTXT(s string) (string, error) { return strconv.Unquote(s) }
