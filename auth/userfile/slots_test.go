package userfile

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/auth"
)

func TestChecksWaitForTheirTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	synctest.Test(t, func(t *testing.T) {
		v := &Verifier{File: &File{Path: path}, Concurrent: 1}
		v.once.Do(v.prepare)
		v.slots <- struct{}{} // somebody's check
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			_, err := v.Verify(ctx, &auth.Credentials{Mechanism: "plain", User: "joe", Password: "x"})
			failed <- err
		}()
		synctest.Wait()
		select {
		case err := <-failed:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err %v", err)
		}
		<-v.slots
		if _, err := v.Verify(t.Context(), &auth.Credentials{Mechanism: "plain", User: "joe", Password: "x"}); !errors.Is(err, auth.ErrRejected) {
			t.Errorf("the slot is not free again: %v", err)
		}
	})
}
