package resolver

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Client asks the DNS. The zero Client is ready: it asks the servers that
// /etc/resolv.conf names, which it reads at the first question, and again when
// the file has changed. It is for any number of goroutines; its fields must
// not change after the first call. A Client needs no closing.
type Client struct {
	// Servers are recursive name servers in order of preference: an address,
	// or address and port. Nil: those of /etc/resolv.conf, or of loopback
	// if the file cannot be read or names none.
	Servers []string

	// Timeout is how long one server may take for one answer. 0: 3 s. Each
	// server is asked up to three times before a question is given up.
	Timeout time.Duration

	// CacheSize is the memory for answers, in octets, about. 0: 16 MiB;
	// negative: nothing is kept.
	CacheSize int

	// TrustAD takes every server's word that it authenticated an answer, as
	// the option trust-ad of resolv.conf does. It is for servers that
	// validate and are reached by a path nobody else can write to.
	TrustAD bool

	// Dialer makes the connections, to "udp" and "tcp". Nil: a net.Dialer.
	Dialer Dialer

	// Log is told, at debug level, of servers that fail. Nil: nobody.
	Log *slog.Logger

	servers serverList
	cache   cache

	mu      sync.Mutex
	flights map[question]*flight
}

// A Dialer makes network connections, as [net.Dialer] does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	defaultTimeout   = 3 * time.Second
	defaultCacheSize = 16 << 20
	rounds           = 3
)

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return defaultTimeout
}

func (c *Client) cacheSize() int {
	if c.CacheSize == 0 {
		return defaultCacheSize
	}
	return max(c.CacheSize, 0)
}

func (c *Client) dialer() Dialer {
	if c.Dialer != nil {
		return c.Dialer
	}
	return &net.Dialer{}
}

func (c *Client) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// Lookup asks for the records of one type that name has, following aliases.
// The Answer is shared with other callers: it must not be changed.
func (c *Client) Lookup(ctx context.Context, name string, t Type) (*Answer, error) {
	canonical, err := toQuery(name)
	if err != nil {
		return nil, notFound(name, "", errInvalidName)
	}
	q := question{canonical, t}
	r, err := c.shared(ctx, q)
	if err != nil {
		return nil, failed(name, "", err)
	}
	if r.err != nil {
		again := *r.err
		again.Name = name
		return nil, &again
	}
	return r.answer, nil
}

// result is what is known about a question: an answer, or why there is none.
type result struct {
	answer *Answer
	err    *net.DNSError
	until  time.Time // keep it until then; zero: not at all
	size   int
}

// A flight is a question on its way. Whoever asks first carries it; the
// others wait for done.
type flight struct {
	done   chan struct{}
	result *result // nil: its carrier gave up
}

// shared answers q from the cache, from the flight of another caller, or by
// asking. Its error is that of ctx.
func (c *Client) shared(ctx context.Context, q question) (*result, error) {
	for {
		if r := c.cache.get(q, time.Now()); r != nil {
			return r, nil
		}
		f, mine := c.board(q)
		if mine {
			return c.carry(ctx, q, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if f.result != nil {
			return f.result, nil
		}
	}
}

// board joins the flight for q, or starts one.
func (c *Client) board(q question) (f *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, found := c.flights[q]; found {
		return f, false
	}
	if c.flights == nil {
		c.flights = make(map[question]*flight)
	}
	f = &flight{done: make(chan struct{})}
	c.flights[q] = f
	return f, true
}

// carry asks the servers on behalf of all who wait for f. If the carrier's own
// ctx ends, another of them takes over.
func (c *Client) carry(ctx context.Context, q question, f *flight) (*result, error) {
	defer func() {
		c.mu.Lock()
		delete(c.flights, q)
		c.mu.Unlock()
		close(f.done)
	}()
	r := c.resolve(ctx, q)
	if ctx.Err() != nil && r.err != nil && r.err.IsTemporary {
		return nil, context.Cause(ctx)
	}
	c.cache.put(q, r, time.Now(), c.cacheSize())
	f.result = r
	return r, nil
}
