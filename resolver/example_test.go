package resolver_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/sqmail/sqmail/resolver"
)

// A Client serves wherever these methods of a net.Resolver are asked for.
func Example() {
	var dns interface {
		LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	} = &resolver.Client{Servers: []string{"127.0.0.53"}}

	_, err := dns.LookupMX(context.Background(), "no..such..name")
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		fmt.Println(err)
	}
	// Output: lookup no..such..name: invalid domain name
}
