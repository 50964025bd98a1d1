package qmailspool_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/qmailspool"
)

// What is left of a queue of qmail goes to another one. (Package transfer does
// the same so that it can be repeated.)
func Example() {
	dir := exampleQueue()
	defer os.RemoveAll(dir)

	old, err := qmailspool.Open(dir, qmailspool.Rewriting{VirtualDomains: map[string]string{"v.example.org": "joe"}})
	if err != nil {
		log.Fatal(err) // ErrRunning, for instance
	}
	defer old.Close()

	ctx := context.Background()
	store := &memstore.Store{}
	for m, err := range old.Messages(ctx) {
		if err != nil {
			fmt.Println("damaged:", err)
			continue
		}
		body, err := m.Open()
		if err != nil {
			log.Fatal(err)
		}
		id, err := queue.Import(ctx, store, m.Submission(time.Now()), body)
		body.Close()
		fmt.Println("message", m.ID, "is now", id, err)
		for _, r := range m.Recipients {
			fmt.Println(r.Channel, r.Address, r.Status == qmailspool.Delivered)
		}
	}
	// Output:
	// message 4711 is now 1 <nil>
	// local info@v.example.org false
	// remote ann@example.net true
}

func exampleQueue() string {
	dir, err := os.MkdirTemp("", "qmail")
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range map[string]string{
		"lock/sendmutex": "",
		"mess/19/4711":   "Subject: hello\n\nworld\n",
		"info/19/4711":   "Fsue@example.org\x00",
		"local/19/4711":  "Tjoe-info@v.example.org\x00",
		"remote/19/4711": "Dann@example.net\x00",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			log.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	return dir
}
