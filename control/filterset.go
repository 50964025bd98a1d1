package control

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/sqmail/sqmail/filter"
)

// Resolver is what filters look names up in. Package resolver's Client fits.
type Resolver interface {
	filter.Resolver
	filter.ListResolver
}

// Parts are what filters need and no file says.
type Parts struct {
	// Resolver looks names up. Nil: what needs it is deferred.
	Resolver Resolver

	// IsOwn knows the addresses of this host, for control/localiphost. Nil:
	// those of loopback, and the one that a client is connected to, alone.
	IsOwn func(netip.Addr) bool

	// Greylist remembers for the profiles that greylist (GREYLIST). It is not
	// closed here: it outlives a Config. Nil: they let everybody in.
	Greylist filter.GreyStore

	// TempDir is where messages are put by while programs and daemons look at
	// them. It should not be in memory, and be this program's alone. "": /tmp.
	TempDir string

	// Log gets what the filters have to tell besides their verdicts. Nil:
	// discarded.
	Log *slog.Logger
}

// Filters makes the filters of a [Config]. What bounds something, such as how
// many virus scanners run at a time, is shared by all profiles that say the
// same about it. Its methods may be called concurrently.
type Filters struct {
	config *Config
	parts  Parts

	mu     sync.Mutex
	shared map[any]filter.Filter    // by what makes it
	queues map[string]chan struct{} // what bounds the programs in QMAILQUEUE, by program
	closed bool
}

// Filters returns what makes the filters of c's profiles.
func (c *Config) Filters(parts Parts) *Filters {
	parts.Resolver = filter.RecordDNS(parts.Resolver)
	return &Filters{config: c, parts: parts, shared: map[any]filter.Filter{}, queues: map[string]chan struct{}{}}
}

// share returns the filter that was made for key, or else makes it.
func (f *Filters) share(key any, build func() filter.Filter) filter.Filter {
	f.mu.Lock()
	defer f.mu.Unlock()
	made, known := f.shared[key]
	if !known {
		made = build()
		f.shared[key] = made
		if c, ok := made.(io.Closer); ok && f.closed {
			c.Close()
		}
	}
	return made
}

// Close lets go what the filters hold for the next client, such as connections.
// Sessions that are running may go on using them.
func (f *Filters) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	var errs []error
	for _, made := range f.shared {
		if c, ok := made.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
