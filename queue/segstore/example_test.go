package segstore_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
)

// What Commit has answered for is there when the store is opened again, however
// the process ended.
func Example() {
	home, _ := os.MkdirTemp("", "segstore")
	defer os.RemoveAll(home)
	ctx, dir := context.Background(), filepath.Join(home, "queue")

	store, err := segstore.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	draft, _ := store.Begin(ctx)
	io.WriteString(draft, "Subject: hello\n\nworld\n")
	id, err := draft.Commit(ctx, queue.Submission{Envelope: &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@example.org"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf("ann@example.net")}},
	}})
	fmt.Println("accepted:", err)
	store.Close()

	store, _ = segstore.Open(dir, nil)
	defer store.Close()
	m, err := store.Open(ctx, id)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	text, _ := io.ReadAll(io.NewSectionReader(m.Content, 0, m.Size))
	fmt.Printf("%s, %q\n", m.Envelope.Recipients[0].Path, text)
	// Output:
	// accepted: <nil>
	// ann@example.net, "Subject: hello\n\nworld\n"
}
