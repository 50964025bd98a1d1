package mailtest_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// flow is a host with a queue: what is for home.test is recorded, the rest
// goes out over a network in memory.
type flow struct {
	network *mailtest.Network
	inbox   *mailtest.Recorder
	queue   *queue.Queue
	agent   *remote.Agent
	store   *memstore.Store

	mu       sync.Mutex
	attempts []time.Duration // since the first message came
	begin    time.Time
}

func newFlow(t *testing.T, zone string) *flow {
	f := &flow{network: new(mailtest.Network), inbox: new(mailtest.Recorder), store: new(memstore.Store)}
	f.agent = &remote.Agent{HelloName: "home.test", Dialer: f.network, Resolver: mailtest.NewZone(t, zone)}
	f.queue = &queue.Queue{
		Store:     f.store,
		Router:    &delivery.Router{Locals: []string{"home.test"}},
		Deliverer: delivery.Agents{"local": queue.DelivererFunc(f.local), "remote": queue.DelivererFunc(f.remote)},
		Bounces:   queue.Bounces{Host: "home.test"},
	}
	return f
}

func (f *flow) local(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	_, err := f.inbox.Receive(ctx, &m.Envelope, m.Reader())
	return m.Outcomes(sqmail.Outcome{Class: sqmail.ClassOf(err)}), nil
}

func (f *flow) remote(ctx context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
	f.mu.Lock()
	f.attempts = append(f.attempts, time.Since(f.begin))
	f.mu.Unlock()
	return f.agent.Deliver(ctx, m)
}

// run runs the queue while test does something.
func (f *flow) run(t *testing.T, test func()) {
	var running sync.WaitGroup
	running.Go(func() {
		if err := f.queue.Run(context.Background()); err != nil {
			t.Error(err)
		}
	})
	test()
	if err := f.queue.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	running.Wait()
	f.agent.Close()
	f.store.Close()
}

func (f *flow) send(t *testing.T, to string) {
	t.Helper()
	f.begin = time.Now()
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@home.test"), Recipients: []sqmail.Recipient{{Path: sqmail.PathOf(to)}}}
	if _, err := f.queue.Receive(t.Context(), env, strings.NewReader("Subject: hi\n\nhello\n")); err != nil {
		t.Fatal(err)
	}
}

const foreign = `
	foreign.test     MX  10 mx.foreign.test
	mx.foreign.test  A   192.0.2.1
`

// TestClosedPortIsRetriedAndBounces: a week of attempts at a host that refuses
// connections, then the bounce. The attempts are made at the ages of the
// schedule; while the queue takes the destination for dead, those that fall
// into its back-off are made up for at its end.
func TestClosedPortIsRetriedAndBounces(t *testing.T) {
	t.Run("by schedule", func(t *testing.T) {
		closedPort(t, -1, []time.Duration{0, 400, 1600, 3600, 6400, 10000, 14400})
	})
	t.Run("with back-off", func(t *testing.T) {
		closedPort(t, time.Hour, []time.Duration{0, 400, 4000})
	})
}

func closedPort(t *testing.T, backoff time.Duration, seconds []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, foreign)
		f.queue.Limits = func(string, string) queue.Limits { return queue.Limits{Backoff: backoff} }
		f.run(t, func() {
			f.send(t, "bob@foreign.test")
			bounces, err := f.inbox.Wait(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			const lifetime = 7 * 24 * time.Hour
			if age := time.Since(f.begin); age < lifetime || age > lifetime+time.Minute {
				t.Errorf("the bounce came after %v", age)
			}
			mailtest.AssertDelivered(t, bounces, "joe@home.test", mailtest.FromPath(""),
				mailtest.HasText("<bob@foreign.test>:\n"),
				mailtest.HasText("this message has been in the queue too long."))
		})
		for i, want := range seconds {
			got, want := f.attempts[i], want*time.Second
			if got < want || got > want+max(backoff, time.Second)/2 {
				t.Errorf("attempt %d after %v, want %v", i+1, got, want)
			}
		}
		t.Logf("%d attempts, the last after %v", len(f.attempts), f.attempts[len(f.attempts)-1])
	})
}

// TestPeerComesBack: what could not be delivered while a host was away arrives
// once when it is back, without a bounce.
func TestPeerComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, foreign)
		f.network.Link("192.0.2.1:25", mailtest.Link{Blackhole: true})
		peer := mailtest.NewPeer(t, f.network, "192.0.2.1:25")
		f.run(t, func() {
			f.send(t, "bob@foreign.test")
			time.Sleep(24 * time.Hour)
			f.network.Link("192.0.2.1:25", mailtest.Link{})
			messages, err := peer.Wait(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			mailtest.AssertDelivered(t, messages, "bob@foreign.test", mailtest.FromPath("joe@home.test"))
			time.Sleep(8 * 24 * time.Hour)
		})
		if n := len(peer.Messages()); n != 1 {
			t.Errorf("delivered %d times", n)
		}
		if len(f.inbox.Messages()) > 0 {
			t.Errorf("a bounce for what was delivered: %v", f.inbox.Messages())
		}
	})
}

// TestRejectionBouncesAtOnce: a 5yz at the foreign host comes back as a bounce
// with what it said.
func TestRejectionBouncesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow(t, foreign)
		peer := mailtest.NewPeer(t, f.network, "192.0.2.1:25")
		peer.On(mailtest.Rcpt).Reply(550, "5.1.1", "nobody of that name")
		f.run(t, func() {
			f.send(t, "bob@foreign.test")
			bounces, err := f.inbox.Wait(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			mailtest.AssertDelivered(t, bounces, "joe@home.test", mailtest.FromPath(""), mailtest.HasText("nobody of that name"))
			if age := time.Since(f.begin); age > time.Second {
				t.Errorf("the bounce came after %v", age)
			}
		})
	})
}
