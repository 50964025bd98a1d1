package filter_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// stuck is a filter that never has a verdict.
type stuck struct{ ctx context.Context }

func (f *stuck) Name() string { return "stuck" }

func (f *stuck) Body(ctx context.Context, _ *filter.Session) (filter.Scanner, error) {
	f.ctx = ctx
	return f, nil
}

func (f *stuck) Write(p []byte) (int, error) { return len(p), nil }
func (f *stuck) Close()                      {}

func (f *stuck) End() (sqmail.Verdict, error) {
	<-f.ctx.Done()
	return sqmail.Verdict{}, f.ctx.Err()
}

// TestClientsHearInTime: filters that take forever defer the message before the
// client gives up, and sends it again.
func TestClientsHearInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := dialogue(t, &filter.Chain{Filters: []filter.Filter{new(stuck), new(stuck)}}, new(sqmail.Envelope), "x\n")
		if sqmail.ClassOf(err) != sqmail.Deferral || time.Since(start) != 9*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestContextOfAScannerEnds with the message.
func TestContextOfAScannerEnds(t *testing.T) {
	f := &quick{}
	if err := dialogue(t, &filter.Chain{Filters: []filter.Filter{f}}, new(sqmail.Envelope), "x\n"); err != nil || f.ctx.Err() == nil {
		t.Errorf("%v, %v", err, f.ctx.Err())
	}
}

type quick struct{ stuck }

func (f *quick) Body(ctx context.Context, _ *filter.Session) (filter.Scanner, error) {
	f.ctx = ctx
	return f, nil
}

func (f *quick) End() (sqmail.Verdict, error) { return sqmail.Verdict{}, f.ctx.Err() }
