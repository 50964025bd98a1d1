package transfer_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/transfer"
)

// readAll returns the contents of a stream's messages, with the errors that
// they end with, and the stream's own.
func readAll(b []byte) (contents []string, errs []error, end error) {
	for item, err := range transfer.Read(bytes.NewReader(b)) {
		if err != nil {
			return contents, errs, err
		}
		text, err := io.ReadAll(item.Content)
		contents, errs = append(contents, string(text)), append(errs, err)
	}
	return contents, errs, nil
}

// Wherever a stream is cut off, that is noticed.
func TestTruncatedStreamIsNoticed(t *testing.T) {
	store := full(t)
	store.Remove(t.Context(), 3) // which is long
	whole := exported(t, store)
	for n := range whole {
		if _, _, err := readAll(whole[:n]); !errors.Is(err, transfer.ErrTruncated) && !errors.Is(err, transfer.ErrFormat) {
			t.Fatalf("cut off at %d of %d: %v", n, len(whole), err)
		}
	}
	if _, _, err := readAll(whole); err != nil {
		t.Errorf("the whole stream: %v", err)
	}
}

// A message that was changed on the way is refused; the next ones are not.
func TestChangedMessageIsNoticed(t *testing.T) {
	whole := exported(t, full(t))
	at := bytes.Index(whole, []byte("Subject: x"))
	whole[at] = 's'
	_, errs, err := readAll(whole)
	if err != nil || len(errs) != 4 || errs[0] != nil || errs[1] == nil || errs[2] != nil || errs[3] != nil {
		t.Errorf("%v, %v", errs, err)
	}
}

func TestItemsNeedNotBeRead(t *testing.T) {
	n := 0
	for _, err := range transfer.Read(bytes.NewReader(exported(t, full(t)))) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d messages, want 4", n)
	}
}

// brokenAt is a content that cannot be read beyond some octet.
type brokenAt int64

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > int64(b) {
		return 0, errors.New("disk error")
	}
	return copy(p, strings.Repeat("x", len(p))), nil
}

// A message that cannot be read is no end of the stream: what was not begun is
// left out, and what was is marked.
func TestUnreadableMessageIsNotTheEnd(t *testing.T) {
	for _, test := range []struct{ size, readable, want int64 }{{1000, 10, 1}, {1 << 20, 1000, 1}, {1 << 20, 600_000, 2}} {
		var b bytes.Buffer
		w := transfer.NewWriter(&b)
		if err := w.Write(&queue.Entry{ID: 1, Size: test.size, Envelope: *envelope("a@b.test")}, brokenAt(test.readable)); err == nil {
			t.Errorf("%+v: no error", test)
		}
		if err := w.Write(&queue.Entry{ID: 2, Size: 3, Envelope: *envelope("a@b.test")}, strings.NewReader("abc")); err != nil {
			t.Errorf("%+v: the next one: %v", test, err)
		}
		w.Close()
		contents, errs, err := readAll(b.Bytes())
		if err != nil || int64(len(contents)) != test.want || contents[len(contents)-1] != "abc" {
			t.Errorf("%+v: %d messages, %v, %v", test, len(contents), errs, err)
		}
		if test.want == 2 && (errs[0] == nil || !strings.Contains(errs[0].Error(), "disk error")) {
			t.Errorf("%+v: the message that is none ends with %v", test, errs[0])
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"format\":\"sqmail-queue\",\"version\":1}\n{\"end\":true}\n"))
	f.Add([]byte("{\"format\":\"sqmail-queue\",\"version\":1}\n{\"id\":1,\"key\":\"00112233445566778899aabbccddeeff\",\"size\":2," +
		"\"submission\":{\"envelope\":{\"reversePath\":\"a@b\",\"recipients\":[{\"path\":\"c@d\"}]}}}\nab\n{\"sha256\":\"x\"}\n{\"end\":true,\"messages\":1}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		contents, errs, _ := readAll(b)
		size := 0
		for i, c := range contents {
			if size += len(c); size > len(b) {
				t.Fatalf("%d octets became more", len(b))
			}
			if errs[i] == nil && len(c) > len(b)-64 {
				t.Fatal("a message without digest was taken")
			}
		}
	})
}
