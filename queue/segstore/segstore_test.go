package segstore_test

import (
	"testing"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/queuetest"
	"github.com/sqmail/sqmail/queue/segstore"
)

// open returns a store that is loaded.
func open(t *testing.T, dir string, o *segstore.Options) *segstore.Store {
	t.Helper()
	s, err := segstore.Open(dir, o)
	if err == nil {
		err = s.Loaded(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// opened returns a store that may not be loaded yet.
func opened(t *testing.T, dir string, o *segstore.Options) *segstore.Store {
	t.Helper()
	s, err := segstore.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel() // it waits for the disk
	queuetest.Run(t, func(t *testing.T) queue.Store { return opened(t, t.TempDir(), nil) })
}

func TestContractWithSmallSegments(t *testing.T) {
	queuetest.Run(t, func(t *testing.T) queue.Store { return opened(t, "/queue", segstore.Small(&crashfs.FS{})) })
}

func TestDurability(t *testing.T) {
	queuetest.RunDurable(t, func(t *testing.T) func() queue.Store {
		dir := t.TempDir()
		return func() queue.Store { return opened(t, dir, nil) }
	})
}

func TestDurabilityWithSmallSegments(t *testing.T) {
	queuetest.RunDurable(t, func(t *testing.T) func() queue.Store {
		fs := &crashfs.FS{}
		return func() queue.Store { return opened(t, "/queue", segstore.Small(fs)) }
	})
}
