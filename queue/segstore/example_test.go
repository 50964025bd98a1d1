package segstore_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := segstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	draft, err := store.Begin(ctx)
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(draft, "Subject: hello\n\nworld\n")
	id, err := draft.Commit(ctx, queue.Submission{Envelope: &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net")}},
	}})
	fmt.Println("message", id, err) // from here on no loss of power can take it away
	store.Close()

	store, err = segstore.Open(dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	lease, err := store.Lease(ctx, time.Minute)
	if err != nil {
		log.Fatal(err)
	}
	content := io.NewSectionReader(lease.Content(), 0, lease.Entry().Size)
	text, _ := io.ReadAll(content)
	fmt.Print(string(text))
	fmt.Println(lease.Done(ctx, nil))
	// Output:
	// message 1 <nil>
	// Subject: hello
	//
	// world
	// <nil>
}

// A program leaves a message for a daemon that may be running or not.
func ExampleSubmit() {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := segstore.Open(dir, nil) // the daemon, once, to make the directory
	if err != nil {
		log.Fatal(err)
	}
	store.Close()

	err = segstore.Submit(context.Background(), dir, queue.Submission{Envelope: &sqmail.Envelope{
		Recipients: []sqmail.Recipient{{Path: sqmail.PathOf("postmaster@example.org")}},
	}}, strings.NewReader("Subject: the disk is full\n\n"))
	fmt.Println(err)
	// Output: <nil>
}
