package transfer_test

import (
	"fmt"
	"testing"

	"github.com/sqmail/sqmail/internal/spoolfs/crashfs"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/queue/transfer"
)

const crashMessages = 3

// importOn imports messages into the store on a disk.
func importOn(t *testing.T, disk *crashfs.FS) error {
	store, err := segstore.OpenOn(disk, "/store", &segstore.Options{NoDrop: true})
	if err != nil {
		return err
	}
	defer store.Close()
	l, err := transfer.OpenLedgerOn(disk, "/imported")
	if err != nil {
		return err
	}
	defer l.Close()
	im := &transfer.Importer{Target: transfer.ToStore(store), Ledger: l}
	im.SetBatch(2)
	_, err = im.Import(t.Context(), messages(crashMessages))
	return err
}

// deliveredOn delivers what the store on a disk does not hold.
func deliveredOn(t *testing.T, disk *crashfs.FS) (map[string]int, int, error) {
	store, err := segstore.OpenOn(disk, "/store", &segstore.Options{NoDrop: true})
	if err != nil {
		return nil, 0, err
	}
	defer store.Close()
	return drain(t, store), store.Stats().Held, nil
}

// TestPowerFailsAtEveryStepOfAnImport imports messages, and at each file
// operation looks at what a crash would leave: whatever is delivered then, the
// next import adds what is missing and nothing else.
func TestPowerFailsAtEveryStepOfAnImport(t *testing.T) {
	disk := &crashfs.FS{}
	points := 0
	survives := func(image *crashfs.FS) error {
		delivered, _, err := deliveredOn(t, image)
		if err != nil {
			return err
		}
		if err := importOn(t, image); err != nil {
			return fmt.Errorf("the second import: %w", err)
		}
		more, held, err := deliveredOn(t, image)
		if err != nil {
			return err
		}
		for to, n := range more {
			delivered[to] += n
		}
		for to, n := range delivered {
			if n != 1 {
				return fmt.Errorf("%s was delivered %d times", to, n)
			}
		}
		if len(delivered) != crashMessages || held != 0 {
			return fmt.Errorf("%d of %d messages delivered, %d held", len(delivered), crashMessages, held)
		}
		return nil
	}
	disk.Hook = func(op crashfs.Op) error {
		if op.Before && op.N > 1 {
			return nil // as after the last operation
		}
		all := crashfs.Losses() // the store has its own test of all of them, at each step
		for _, loss := range []crashfs.Loss{crashfs.LoseAll, all[op.N%len(all)]} {
			points++
			if err := survives(op.Crash(loss, uint64(points))); err != nil {
				t.Errorf("crash at operation %d (%s %s, before: %v), loss %q: %v", op.N, op.Kind, op.Name, op.Before, loss, err)
			}
		}
		return nil
	}
	if err := importOn(t, disk); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d file operations, %d crash points", disk.Ops(), points)
}

// Each operation of the disk fails once: the import says so, and the next one
// goes on.
func TestEveryFileOperationOfAnImportFails(t *testing.T) {
	for n := 1; ; n++ {
		disk := &crashfs.FS{}
		failed := false
		disk.Hook = func(op crashfs.Op) error {
			if op.Before && op.N == n && !failed {
				failed = true
				return fmt.Errorf("operation %d fails", n)
			}
			return nil
		}
		first := importOn(t, disk)
		disk.Hook = nil
		if !failed {
			return
		}
		delivered, _, err := deliveredOn(t, disk)
		if err != nil {
			t.Fatal(err)
		}
		if err := importOn(t, disk); err != nil {
			t.Fatalf("operation %d: %v, and then %v", n, first, err)
		}
		more, held, err := deliveredOn(t, disk)
		if err != nil {
			t.Fatal(err)
		}
		for to, count := range more {
			delivered[to] += count
		}
		if len(delivered) != crashMessages || held != 0 {
			t.Fatalf("operation %d: %d of %d messages delivered, %d held", n, len(delivered), crashMessages, held)
		}
		for to, count := range delivered {
			if count != 1 {
				t.Fatalf("operation %d: %s was delivered %d times", n, to, count)
			}
		}
	}
}
