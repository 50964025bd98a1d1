package greylist_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist"
)

func seen(r filter.GreyRecord) filter.GreyRecord {
	r.First = time.Unix(1e9, 0)
	return r
}

func TestFileIsMadeWhenItIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greylist.db")
	f := &greylist.File{Path: path}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file before anybody asked: %v", err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := f.Update(t.Context(), "key", seen); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Error(err)
	}
	if err := f.Update(t.Context(), "key", seen); !errors.Is(err, greylist.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}

	again := &greylist.File{Path: path}
	defer again.Close()
	err := again.Update(t.Context(), "key", func(r filter.GreyRecord) filter.GreyRecord {
		if r.First.Unix() != 1e9 {
			t.Errorf("forgotten: %+v", r)
		}
		return r
	})
	if err != nil {
		t.Error(err)
	}
}

func TestFileThatNobodyUsedIsNotMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greylist.db")
	if err := (&greylist.File{Path: path}).Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestFileThatCannotBeOpened: every update fails, and once a minute it is tried
// again.
func TestFileThatCannotBeOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	synctest.Test(t, func(t *testing.T) {
		f := &greylist.File{Path: filepath.Join(dir, "greylist.db")}
		defer f.Close()
		for range 2 {
			if err := f.Update(t.Context(), "key", seen); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
			os.Mkdir(dir, 0o700)
		}
		time.Sleep(time.Minute)
		if err := f.Update(t.Context(), "key", seen); err != nil {
			t.Error(err)
		}
	})
}
