package queue_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// A program's own queue: what it delivers, and how, is a function.
func Example() {
	delivered := make(chan string)
	q := &queue.Queue{
		Store: &memstore.Store{},
		Deliverer: queue.DelivererFunc(func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			to := m.Envelope.Recipients[0].Path
			delivered <- fmt.Sprintf("%d octets to %s, for %s", m.Size, m.Route.Destination, to)
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		}),
	}
	go q.Run(context.Background())

	env := &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net")}},
	}
	receipt, err := q.Receive(context.Background(), env, strings.NewReader("Subject: hello\n\nworld\n"))
	fmt.Println("message", receipt.ID, err)
	fmt.Println(<-delivered)
	fmt.Println(q.Shutdown(context.Background()))
	// Output:
	// message 1 <nil>
	// 22 octets to example.net, for ann@example.net
	// <nil>
}
