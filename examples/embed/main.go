// Embed is a mail server in the smallest space: it takes mail from programs on
// this host, keeps it until it is delivered, and delivers it to the world. The
// queue is in the directory "spool".
//
//	go run ./examples/embed
//	swaks --server 127.0.0.1:2525 --to you@example.org
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"os/signal"
	"syscall"
	"time"

	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", "127.0.0.1:2525")
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, l, "spool", &remote.Agent{HelloName: "mx.example.org"}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, l net.Listener, spool string, agent *remote.Agent) error {
	store, err := segstore.Open(spool, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	q := &queue.Queue{Store: store, Deliverer: agent, Bounces: queue.Bounces{Host: "mx.example.org"}}
	srv := &smtpd.Server{HelloName: "mx.example.org", Receiver: q}

	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(l) }()
	go func() { failed <- q.Run(context.Background()) }()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, srv.Shutdown(drain), q.Shutdown(drain), agent.Shutdown(drain))
}
