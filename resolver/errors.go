package resolver

import (
	"context"
	"errors"
	"net"
	"os"
)

// ErrNoData is in the chain of an error that says of a name that exists that
// it has no records of the type asked for (RFC 2308, 2.2).
var ErrNoData error = noData{}

type noData struct{}

func (noData) Error() string { return "no such record" }

// NoData tells those who do not know this package what kind of error it is.
func (noData) NoData() bool { return true }

var (
	errNoSuchHost  = errors.New("no such host") // the words of package net
	errInvalidName = errors.New("invalid domain name")
	errTooDeep     = errors.New("too many aliases")
	errRefused     = errors.New("server could not answer")
	errTruncated   = errors.New("truncated answer")
	errForged      = errors.New("too many answers to other questions")
	errFormat      = errors.New("server does not understand the query")
)

// notFound returns the error for what is not there.
func notFound(name, server string, cause error) *net.DNSError {
	return &net.DNSError{UnwrapErr: cause, Err: cause.Error(), Name: name, Server: server, IsNotFound: true}
}

// failed returns the error for what nobody could say.
func failed(name, server string, cause error) *net.DNSError {
	return &net.DNSError{
		UnwrapErr:   cause,
		Err:         cause.Error(),
		Name:        name,
		Server:      server,
		IsTimeout:   isTimeout(cause),
		IsTemporary: true,
	}
}

func isTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
