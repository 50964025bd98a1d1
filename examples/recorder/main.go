// Recorder is a mail server for the tests of an application in any language:
// it takes all mail, delivers none, and shows over HTTP what came. A test in Go
// needs no such process: see package mailtest.
//
//	go run ./examples/recorder -smtp 127.0.0.1:1025 -http 127.0.0.1:8025
//
//	GET    /messages                    what came so far, as JSON
//	GET    /messages?wait=2&within=10s  the same, once there are two
//	GET    /messages/1                  the first message as it is
//	DELETE /messages                    begin anew
//
// A wait that ends too early is answered with 504 and what there is. A client is
// refused on demand: mail to refuse@… is rejected, mail to defer@… deferred.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	smtpAddr := flag.String("smtp", "127.0.0.1:1025", "address to take mail on")
	httpAddr := flag.String("http", "127.0.0.1:8025", "address to show it on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	mail, err := net.Listen("tcp", *smtpAddr)
	if err != nil {
		log.Fatal(err)
	}
	web, err := net.Listen("tcp", *httpAddr)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(ctx, mail, web); err != nil {
		log.Fatal(err)
	}
}

// serve takes mail and shows it until ctx ends.
func serve(ctx context.Context, mail, web net.Listener) error {
	recorder := &mailtest.Recorder{MaxSize: 32 << 20}
	in := &smtpd.Server{HelloName: "recorder.test", Policy: smtpd.PolicyFunc(onDemand), Receiver: recorder}
	out := &http.Server{Handler: handler(recorder), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- in.Serve(mail) }()
	go func() { failed <- out.Serve(web) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, in.Shutdown(drain), out.Shutdown(drain))
}

// onDemand takes all recipients but those that are there to be refused.
func onDemand(_ context.Context, _ *sqmail.Peer, _ *sqmail.Envelope, to *sqmail.Recipient) error {
	switch to.Path.LocalPart() {
	case "refuse":
		return &sqmail.Error{Op: "recipient", Class: sqmail.Rejection,
			Reply: sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "refused on demand"}}
	case "defer":
		return &sqmail.Error{Op: "recipient",
			Reply: sqmail.Reply{Code: 450, Enhanced: sqmail.EnhancedCode{4, 2, 1}, Text: "deferred on demand"}}
	}
	return nil
}
