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
			return m.Outcomes(sqmail.Outcome{Class: sqmail.Accepted}), nil
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

// A program hears what becomes of its mail, and finds by the receipt which
// message it is about. It needs no bounce.
func ExampleQueue_outcome() {
	news := make(chan string)
	q := &queue.Queue{
		Store: &memstore.Store{},
		Deliverer: queue.DelivererFunc(func(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			reply := sqmail.Reply{Code: 550, Enhanced: sqmail.EnhancedCode{5, 1, 1}, Text: "no such user"}
			return m.Outcomes(sqmail.Outcome{Class: sqmail.Rejection, Reply: reply}), nil
		}),
		Outcome: func(e *queue.Entry, a queue.Attempt) {
			if a.Status != queue.Pending { // else it is tried again at a.Due
				news <- fmt.Sprintf("message %v to %s: %s, %s", e.ID, e.Envelope.Recipients[a.Recipient].Path, a.Status, a.Outcome.Reply)
			}
		},
	}
	go q.Run(context.Background())

	env := &sqmail.Envelope{
		ReversePath: sqmail.PathOf("shop@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net"), Notify: sqmail.NotifyNever}},
	}
	receipt, err := q.Receive(context.Background(), env, strings.NewReader("Subject: your order\n\nis on its way\n"))
	fmt.Println("message", receipt.ID, err)
	fmt.Println(<-news)
	fmt.Println(q.Shutdown(context.Background()))
	// Output:
	// message 1 <nil>
	// message 1 to ann@example.net: failed, 550 5.1.1 no such user
	// <nil>
}
