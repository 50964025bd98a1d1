package memstore_test

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

func Example() {
	ctx := context.Background()
	store := &memstore.Store{}
	defer store.Close()

	draft, _ := store.Begin(ctx)
	io.WriteString(draft, "Subject: hello\n\nworld\n")
	id, err := draft.Commit(ctx, queue.Submission{Envelope: &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net")}},
	}})
	fmt.Println(id, err)

	lease, _ := store.Lease(ctx, time.Minute)
	entry := lease.Entry()
	fmt.Println(entry.Envelope.Recipients[0].Path, entry.Size)
	fmt.Println(lease.Done(ctx, []queue.Attempt{{Number: 1, Status: queue.Delivered}}))
	fmt.Println(store.Stats())
	// Output:
	// 1 <nil>
	// ann@example.net 22
	// <nil>
	// {0 0 0 0 0 0 0 false}
}
