package mailtest_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// internet is what the mail of [TestFiveDays] meets: a host for each evil.
const internet = `
	grey.test     MX  10 mx.grey.test
	busy.test     MX  10 mx.busy.test
	tls.test      MX  10 mx.tls.test
	half.test     MX  10 mx.half.test
	slow.test     MX  10 mx.slow.test
	doubt.test    MX  10 mx.doubt.test
	dead.test     MX  10 mx.dead.test
	mx.grey.test  A   192.0.2.1
	mx.busy.test  A   192.0.2.2
	mx.tls.test   A   192.0.2.3
	mx.half.test  A   192.0.2.4
	mx.slow.test  A   192.0.2.5
	mx.doubt.test A   192.0.2.6
	mx.dead.test  A   192.0.2.7
`

// TestFiveDays is the whole kit at work: mail to hosts that greylist, are busy,
// have broken TLS, close half, are slow, leave in doubt and are dead, for as
// long as a queue of five days lasts; what is for this host comes into a
// Maildir, the bounce too.
func TestFiveDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home := newHome(t)
		network, zone := new(mailtest.Network), mailtest.NewZone(t, internet)
		zone.On("MX", mailtest.For("dead.test"), mailtest.First(2)).ServFail()
		ca := mailtest.NewCA(t)
		peers := make(map[string]*mailtest.Peer)
		for i, name := range []string{"grey", "busy", "tls", "half", "slow", "doubt"} {
			peers[name] = &mailtest.Peer{Name: "mx." + name + ".test"}
			if name == "tls" {
				peers[name].TLS = ca.Server("mx.tls.test")
			}
			peers[name].Start(t, network, fmt.Sprintf("192.0.2.%d:25", i+1))
		}
		peers["grey"].On(mailtest.Rcpt, mailtest.Greylisted(30*time.Minute)).Reply(451, "4.7.1", "come back")
		peers["busy"].On(mailtest.Mail, mailtest.Above(1, time.Hour)).Reply(421, "4.7.0", "too many messages")
		peers["tls"].On(mailtest.StartTLS).BadTLS()
		peers["half"].On(mailtest.Data, mailtest.First(2)).HalfClose()
		peers["slow"].On(mailtest.Data).Delay(time.Minute).Slow(10)
		peers["doubt"].On(mailtest.Body, mailtest.Nth(1)).Take().Drop()

		store, agent := new(memstore.Store), &remote.Agent{HelloName: "home.test", Dialer: network, Resolver: zone}
		users := local.UsersFunc(func(_ context.Context, name string) (local.User, error) {
			if name != "joe" {
				return local.User{}, local.ErrNoUser
			}
			return local.User{Name: "joe", Home: home}, nil
		})
		var doubts atomic.Int64
		q := &queue.Queue{
			Store:     store,
			Router:    &delivery.Router{Locals: []string{"home.test"}},
			Deliverer: delivery.Agents{"local": &local.Agent{Users: users}, "remote": agent},
			Lifetime:  5 * 24 * time.Hour,
			Bounces:   queue.Bounces{Host: "home.test"},
			Outcome: func(e *queue.Entry, a queue.Attempt) {
				if a.Outcome.InDoubt {
					doubts.Add(1)
				}
			},
		}
		done := make(chan error, 1)
		go func() { done <- q.Run(context.Background()) }()
		t.Cleanup(func() { // also when the test fails, for nothing may outlive its bubble
			q.Shutdown(context.Background())
			if err := <-done; err != nil {
				t.Error(err)
			}
			agent.Close()
			store.Close()
		})
		send := func(to ...string) {
			env := &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@home.test")}
			for _, a := range to {
				env.Recipients = append(env.Recipients, sqmail.Recipient{Path: sqmail.PathOf(a)})
			}
			if _, err := q.Receive(t.Context(), env, strings.NewReader("Subject: hi\n\n"+strings.Repeat("hello\n", 100))); err != nil {
				t.Fatal(err)
			}
		}
		send("bob@grey.test", "bob@busy.test", "bob@tls.test", "bob@half.test", "bob@slow.test", "bob@doubt.test", "bob@dead.test", "joe@home.test")
		send("eve@busy.test")
		start := time.Now()
		inbox := func() []*mailtest.Message { return mailtest.ReadMaildir(t, home+"/Maildir") }

		time.Sleep(5*24*time.Hour - time.Second)
		mailtest.AssertDelivered(t, inbox(), "joe@home.test", mailtest.FromPath("joe@home.test"))
		for _, name := range []string{"grey", "busy", "tls", "half", "slow"} {
			mailtest.AssertDelivered(t, peers[name].Messages(), "bob@"+name+".test", mailtest.HasText("hello"))
		}
		mailtest.AssertDelivered(t, peers["busy"].Messages(), "eve@busy.test")
		if n := len(peers["doubt"].Messages()); n != 2 || doubts.Load() != 1 {
			t.Errorf("in doubt it came %d times, and %d outcomes say so", n, doubts.Load())
		}
		time.Sleep(time.Minute)
		mailtest.AssertDelivered(t, inbox(), "joe@home.test", mailtest.FromPath(""), mailtest.HasText("<bob@dead.test>:\n"))
		if s := q.Stats(); s != (queue.Stats{}) {
			t.Errorf("after %v there is %+v", time.Since(start), s)
		}
	})
}

// newHome returns the home of a user with a Maildir.
func newHome(t *testing.T) string {
	home := t.TempDir()
	if err := os.Chmod(home, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(home+"/Maildir/"+dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return home
}
