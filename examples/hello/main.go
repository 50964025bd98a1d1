// Command hello is the program that README shows: a mail server in twenty
// lines. It may be ended in any way at any time, for what it has accepted is on
// disk, and is delivered after the next start; examples/embed ends in good
// order.
package main

import (
	"context"
	"log"

	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	store, err := segstore.Open("spool", nil)
	if err != nil {
		log.Fatal(err)
	}
	q := &queue.Queue{
		Store:     store,
		Deliverer: &remote.Agent{HelloName: "mx.example.org"},
		Bounces:   queue.Bounces{Host: "mx.example.org"},
	}
	go q.Run(context.Background())
	log.Fatal((&smtpd.Server{Addr: "127.0.0.1:2525", Receiver: q}).ListenAndServe())
}
