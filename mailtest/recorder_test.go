package mailtest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/mailtest"
)

func receive(r *mailtest.Recorder, to, text string) error {
	env := &sqmail.Envelope{
		ReversePath: sqmail.PathOf("joe@a.test"),
		Recipients:  []sqmail.Recipient{{Path: sqmail.PathOf(to)}},
		Header:      []byte("Received: by test\n"),
	}
	_, err := r.Receive(context.Background(), env, strings.NewReader(text))
	env.Recipients[0].Path, env.Header[0] = sqmail.PathOf("reused@a.test"), 'X'
	return err
}

func TestRecorderKeepsACopy(t *testing.T) {
	var r mailtest.Recorder
	if err := receive(&r, "bob@b.test", "Subject: hi\n\nhello\n"); err != nil {
		t.Fatal(err)
	}
	mailtest.AssertDelivered(t, r.Messages(), "bob@b.test", mailtest.HasData("Received: by test\nSubject: hi\n\nhello\n"))
	r.Reset()
	if len(r.Messages()) != 0 {
		t.Error("Reset leaves messages")
	}
}

func TestRecorderRefuses(t *testing.T) {
	full := errors.New("full")
	for _, tc := range []struct {
		rule     string
		recorder *mailtest.Recorder
		body     io.Reader
		want     func(error) bool
	}{
		{"what it is told to", &mailtest.Recorder{Refuse: func(*mailtest.Message) error { return full }},
			strings.NewReader("x"), func(err error) bool { return errors.Is(err, full) }},
		{"a body that fails", new(mailtest.Recorder),
			iotest.ErrReader(io.ErrUnexpectedEOF), func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"what is too big", &mailtest.Recorder{MaxSize: 3},
			strings.NewReader("four"), func(err error) bool { return sqmail.ReplyFor(err).Code == 552 }},
	} {
		if _, err := tc.recorder.Receive(t.Context(), new(sqmail.Envelope), tc.body); !tc.want(err) {
			t.Errorf("%s: %v", tc.rule, err)
		}
		if len(tc.recorder.Messages()) != 0 {
			t.Errorf("%s: recorded", tc.rule)
		}
	}
}

func TestRecorderWaitsWithoutPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r mailtest.Recorder
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for range 3 {
				time.Sleep(24 * time.Hour)
				receive(&r, "bob@b.test", "\n")
			}
		})
		start := time.Now()
		messages, err := r.Wait(t.Context(), 3)
		if err != nil || len(messages) != 3 || time.Since(start) != 72*time.Hour {
			t.Errorf("%d messages, %v after %v", len(messages), err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		messages, err = r.Wait(ctx, 5)
		if !errors.Is(err, context.DeadlineExceeded) || len(messages) != 3 || !strings.Contains(err.Error(), "3 of 5") {
			t.Errorf("%d messages, %v", len(messages), err)
		}
	})
}
