// Gateway takes mail by SMTP for some domains, and posts each message to a
// URL. The client hears 250 when the web application has answered 2xx, so that
// no message is lost between the two: nothing is kept here.
//
//	go run ./examples/gateway -listen 127.0.0.1:2525 -domains example.org -post http://127.0.0.1:8080/mail
//
// The request's body is the message (message/rfc822, lines end in LF), the
// envelope is in the query: from=… and one to=… for each recipient. An answer of
// 4xx rejects the mail, but 408, 425 and 429, all others, and none, defer it.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/smtpd"
)

const (
	postTimeout  = time.Minute
	drainTimeout = 2 * postTimeout
)

func main() {
	listen := flag.String("listen", "127.0.0.1:2525", "address to take mail on")
	domains := flag.String("domains", "example.org", "domains to take mail for, separated by commas")
	post := flag.String("post", "http://127.0.0.1:8080/mail", "URL to post messages to")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(ctx, l, strings.Split(*domains, ","), *post); err != nil {
		log.Fatal(err)
	}
}

// serve takes mail on l until ctx ends.
func serve(ctx context.Context, l net.Listener, domains []string, url string) error {
	srv := &smtpd.Server{
		HelloName: "gateway.example.org",
		Policy:    &filter.Chain{Filters: []filter.Filter{&filter.RcptHosts{Domains: filter.ListOf(domains...)}}},
		Receiver:  newPoster(url),
		Log:       slog.Default(),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	return errors.Join(err, srv.Shutdown(drain))
}
