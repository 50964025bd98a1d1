package queue

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sqmail/sqmail"
)

// Queue takes messages and delivers them: it is a [sqmail.Receiver], and the
// scheduler of what is in its Store.
//
// Set the fields before the first call, and do not change them afterwards;
// [Queue.SetConcurrency], [Queue.SetLifetime] and [Queue.SetBounces] may be
// called at any time, as may all other methods, by any goroutine. Only Store is needed to receive,
// and Store and Deliverer to run. The functions that are fields are called
// concurrently, and must not call the Queue.
type Queue struct {
	// Store keeps the messages. The Queue does not close it.
	Store Store

	// Router says how recipients are reached. Nil: everything is remote, and
	// its destination is the recipient's domain in lower case.
	Router Router

	// Deliverer makes the attempts.
	Deliverer Deliverer

	// Schedule says when a deferred recipient is tried again. Nil: Quadratic.
	Schedule Schedule

	// Lifetime is how long a message is tried. At its end there is a last
	// attempt, and whoever it does not reach has failed. No message stays
	// longer than a minute more, whatever its attempts do; one that is held
	// has time until it is released. 0 means seven days.
	Lifetime time.Duration

	// Concurrency is the number of attempts that may run at a time on a
	// channel, those apart that Silent counts, and the number of those at one
	// destination. A channel that is not in the map has 10 if it is "local",
	// else 20; 0 stops a channel. The last fifth of the slots is kept for
	// destinations that have none, and a quarter for first attempts. While
	// four messages or more are being committed at once, no attempt starts on
	// the local channel, for two seconds at most and half the time in the long
	// run: clients that wait for a reply come first.
	Concurrency map[string]int

	// Silent is the number of further attempts on a channel that may run
	// while their next hop says nothing. An attempt counts as silent when it
	// has run for 50 ms and its [sqmail.Message].Progress was not called for
	// as long; when it is called, the attempt counts as others do, so that
	// there may be more of these than Concurrency for a while. There are never
	// more than Concurrency and Silent together. So hosts that hang do not
	// keep others waiting, though nobody knows beforehand which they are. Of
	// these places as well, some are kept for mail that has just come.
	//
	// The channel "remote" has nine times its Concurrency, up to 500, if it
	// is not in the map; other channels have none.
	Silent map[string]int

	// Limits returns the limits of a destination. It is asked about once a
	// minute for each that is in use. Nil: Limits{} for all.
	Limits func(channel, destination string) Limits

	// Account names whom a message's share of a channel and of a destination
	// is counted for: accounts that wait for one of these take turns. Nil: the
	// reverse-path, its local part only up to the first "+", "-" or "=", in
	// lower case, so that a mailing list with its VERP senders is one account.
	Account func(env *sqmail.Envelope) string

	// OneRecipient makes an attempt of its own for each recipient, as qmail
	// does. Otherwise those with equal routes are attempted together.
	OneRecipient bool

	// AttemptTimeout bounds an attempt. When it is over, the attempt's context
	// ends, an event "stalled" is logged, and ten seconds later the queue goes
	// on without its outcomes: they are deferrals. 0 means an hour.
	AttemptTimeout time.Duration

	// Bounces says how reports to senders look.
	Bounces Bounces

	// Outcome is told what became of a recipient, each time that there is an
	// answer to an attempt, its time is up, its route is refused or an
	// administrator takes it out: a.Recipient is its index in e.Envelope,
	// e.ID.String() the [sqmail.Receipt].ID of Receive. It is called before that
	// is durable, so that the end of the process loses none: an attempt that was
	// told and not recorded is made, and told, again, with the same a.Number,
	// and the later one counts. A message that Remove deletes is not told of;
	// a report in the Store is a message like others. Calls about a message
	// come one after another, and it waits for them; others do not. e must not
	// be changed or kept. Nil: nobody is told.
	Outcome func(e *Entry, a Attempt)

	// Log gets an event for everything that happens to a message; see the
	// package comment. Nil: nothing is logged.
	Log *slog.Logger

	setup     sync.Once
	shaper    *shaper
	lifetime  atomic.Int64
	bounces   atomic.Pointer[Bounces]
	number    atomic.Uint64 // of the last delivery
	removing  atomic.Int32  // entries of removals
	lingering atomic.Int32  // jobs that keep their lease while they wait
	shortened chan struct{} // says that the lifetime is shorter now
	leases    gate
	brake     brake
	commits   commits

	mu       sync.Mutex
	jobs     map[ID]*job
	troubles map[ID]*trouble
	removals map[ID]*removal

	life life
}

const (
	defaultLifetime       = 7 * 24 * time.Hour
	defaultAttemptTimeout = time.Hour

	leaseTime   = 3 * time.Minute  // a lease's time to live,
	extendAfter = time.Minute      // renewed that often
	overtime    = 45 * time.Second // what an attempt may use of the minute after the lifetime
	grace       = 10 * time.Second // what a cancelled attempt gets to return
	parkTime    = time.Hour        // parked messages are looked at after that, or twice that, come what may
	refusedTime = 10 * time.Minute // the same for those that a line was full for, and that wait in another
	bounceRetry = 123 * time.Second
	reportTime  = 2 * time.Minute  // what a Receiver of bounces may take: less than a lease has
	justNow     = 10 * time.Second // a message of that age has just come

	manyWaiting  = 64 // attempts of one message that wait for slots,
	maxLingering = 64 // and messages with so many that do not let go of their lease
)

func (q *Queue) init() {
	q.setup.Do(func() {
		q.lifetime.Store(int64(orDefault(q.Lifetime, defaultLifetime)))
		q.bounces.Store(&q.Bounces)
		q.shortened = make(chan struct{}, 1)
		q.jobs = make(map[ID]*job)
		q.troubles = make(map[ID]*trouble)
		q.removals = make(map[ID]*removal)
		q.shaper = newShaper(q.Concurrency, q.Silent, q.limitsOf, func(key string, n int) int { return q.Store.Wake(key, n) })
		q.leases.left = make(chan struct{}, 1)
		q.leases.resize(q.maxLeases)
		q.life.init()
	})
}

// SetConcurrency changes the number of attempts that may run at a time on a
// channel, and with it how many may be silent if Silent does not say. Those
// that run go on.
func (q *Queue) SetConcurrency(channel string, n int) {
	q.init()
	q.shaper.setConcurrency(channel, max(n, 0))
	q.leases.resize(q.maxLeases)
}

// maxLeases is how many leases are held at a time: one for each attempt, and
// some more.
func (q *Queue) maxLeases() int { return spareLeases + q.shaper.places() }

func (q *Queue) route(ctx context.Context, env *sqmail.Envelope, to sqmail.Path) (r sqmail.Routing, err error) {
	if q.Router == nil {
		return sqmail.Routing{
			Route:   sqmail.Route{Channel: sqmail.ChannelRemote, Destination: lowerASCII(to.Domain)},
			Deliver: to,
			Display: to,
		}, nil
	}
	defer q.recoverTo(&err, "router")
	return q.Router.Route(ctx, env, to)
}

// limitsOf asks Limits; one that panics sets none.
func (q *Queue) limitsOf(channel, destination string) (l Limits) {
	if q.Limits == nil {
		return Limits{}
	}
	defer q.recovered("limits", func() { l = Limits{} })
	return q.Limits(channel, destination)
}

// account is the default for Queue.Account.
func account(env *sqmail.Envelope) string {
	p, _ := env.ReversePath.VERPBase()
	for i := range len(p.Local) {
		if c := p.Local[i]; i > 0 && (c == '+' || c == '-' || c == '=') {
			p.Local = p.Local[:i]
			break
		}
	}
	return lowerASCII(p.String())
}

// lowerASCII turns ASCII letters into lower case, and leaves UTF-8 alone.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
