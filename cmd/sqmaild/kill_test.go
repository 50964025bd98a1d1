package main

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/mail"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue/transfer"
)

var (
	killRounds = flag.Int("kill.rounds", 20, "how often TestKill kills the daemon")
	killSeed   = flag.Uint64("kill.seed", 0, "random seed of TestKill; 0 takes one from the clock")
)

// TestKillLosesNothing kills the real daemon under load again and again: what got
// a 250 is in a Maildir or in the queue, whole, and what is there twice was
// being delivered when the daemon died.
func TestKillLosesNothing(t *testing.T) {
	const connections, users = 16, 4
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := newHome(t, "u0", "u1", "u2", "u3")
	load := &load{acked: map[string]bool{}}
	for round := range *killRounds {
		d := h.start()
		stop := make(chan struct{})
		var senders sync.WaitGroup
		for n := range connections {
			senders.Go(func() { load.send(d.addrs["smtpd"], fmt.Sprintf("u%d@mx.example.org", n%users), stop) })
		}
		<-time.After(time.Duration(20+random.IntN(400)) * time.Millisecond)
		d.kill()
		close(stop)
		senders.Wait()
		if lost := load.missing(h); len(lost) > 0 {
			t.Fatalf("round %d: %d of %d accepted messages are gone, the first is %s", round, len(lost), len(load.acked), lost[0])
		}
	}
	d := h.start()
	h.waitEmpty()
	d.stop()
	copies := h.delivered()
	duplicates := 0
	for id := range load.acked {
		if copies[id] == 0 {
			t.Errorf("%s was accepted and never delivered", id)
		}
		duplicates += max(0, copies[id]-1)
	}
	t.Logf("%d kills, %d messages accepted, 0 lost, %d delivered twice", *killRounds, len(load.acked), duplicates)
	// An attempt is in doubt when the daemon dies between the Maildir's rename
	// and the queue's checkpoint: at most as many as run at a time.
	if most := *killRounds * 10; duplicates > most {
		t.Errorf("%d duplicates, more than the %d attempts that can have been in doubt", duplicates, most)
	}
}

// load is what the clients know: the messages that got a 250.
type load struct {
	mu    sync.Mutex
	next  int
	acked map[string]bool
}

// send sends messages over one connection until it breaks or stop is closed.
func (l *load) send(addr, to string, stop <-chan struct{}) {
	c, err := smtp.Dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		select {
		case <-stop:
			return
		default:
		}
		l.mu.Lock()
		l.next++
		n := l.next
		l.mu.Unlock()
		id, text := numbered(n)
		if sendOne(c, to, text) != nil {
			return
		}
		l.mu.Lock()
		l.acked[id] = true
		l.mu.Unlock()
	}
}

// numbered makes a message that proves itself: its subject is its number and
// the hash of its body.
func numbered(n int) (id, text string) {
	body := strings.Repeat(fmt.Sprintf("line of message %d\r\n", n), 1+n*37%400)
	id = fmt.Sprintf("%d-%x", n, bodyHash(body))
	return id, "Subject: " + id + "\r\n\r\n" + body
}

func bodyHash(body string) []byte {
	sum := sha256.Sum256([]byte(strings.ReplaceAll(body, "\r\n", "\n")))
	return sum[:8]
}

func sendOne(c *smtp.Client, to, text string) error {
	if err := c.Mail(""); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(text)); err != nil {
		return err
	}
	return w.Close()
}

// missing returns the accepted messages that are neither in a Maildir nor in
// the queue of the stopped home.
func (l *load) missing(h *home) []string {
	h.t.Helper()
	found := h.delivered()
	for item, err := range transfer.Read(strings.NewReader(h.run("", "queue", "export", "-home", h.dir, "-all"))) {
		if err != nil {
			h.t.Fatal(err)
		}
		text, err := io.ReadAll(item.Content)
		if err != nil {
			h.t.Fatal(err)
		}
		found[verified(h.t, "queue message "+item.Name, string(text))]++
	}
	var lost []string
	for id := range l.acked {
		if found[id] == 0 {
			lost = append(lost, id)
		}
	}
	return lost
}

// queued returns the numbers of the messages in the queue.
func (h *home) queued() (ids []string) {
	h.t.Helper()
	lines := json.NewDecoder(strings.NewReader(h.run("", "queue", "list", "-home", h.dir, "-json")))
	for lines.More() {
		var entry struct{ ID json.Number }
		if err := lines.Decode(&entry); err != nil {
			h.t.Fatal(err)
		}
		ids = append(ids, entry.ID.String())
	}
	return ids
}

// waitEmpty waits until the running daemon has delivered everything.
func (h *home) waitEmpty() {
	h.t.Helper()
	for deadline := time.Now().Add(time.Minute); len(h.queued()) > 0; {
		if time.Now().After(deadline) {
			h.t.Fatalf("the queue does not get empty:\n%s", h.run("", "queue", "list", "-home", h.dir))
		}
		<-time.After(20 * time.Millisecond)
	}
}

// delivered counts the messages in all Maildirs by their id, and fails the
// test for one that is not whole.
func (h *home) delivered() map[string]int {
	h.t.Helper()
	var users []struct{ Name, Maildir string }
	if err := json.Unmarshal([]byte(h.run("", "user", "list", "-home", h.dir, "-json")), &users); err != nil {
		h.t.Fatal(err)
	}
	found := map[string]int{}
	for _, u := range users {
		files, _ := filepath.Glob(filepath.Join(u.Maildir, "new", "*"))
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				h.t.Fatal(err)
			}
			found[verified(h.t, file, string(text))]++
		}
	}
	return found
}

// verified returns the id of a message, having checked its body against it.
func verified(t *testing.T, name, text string) string {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	_, body, _ := strings.Cut(text, "\n\n")
	id := m.Header.Get("Subject")
	if want := fmt.Sprintf("-%x", bodyHash(body)); !strings.HasSuffix(id, want) {
		t.Fatalf("%s is torn: subject %q, body hash %s", name, id, want)
	}
	return id
}
