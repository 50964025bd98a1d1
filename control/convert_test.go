package control_test

import (
	"reflect"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

func TestBounces(t *testing.T) {
	c := load(t, map[string]string{"bouncemaxbytes": "9", "doublebounceto": "boss"})
	want := queue.Bounces{Host: "mx.example.org", From: "MAILER-DAEMON", MaxBytes: 9, DoubleTo: sqmail.Path{Local: "boss", Domain: "mx.example.org"}}
	if got := c.Bounces(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	c = load(t, map[string]string{"doublebounceto": "\n"})
	if got := c.Bounces(); !got.DropDouble || !got.DoubleTo.IsNull() {
		t.Errorf("an empty doublebounceto discards: %+v", got)
	}
}

func TestConcurrency(t *testing.T) {
	c := load(t, map[string]string{"concurrencyremote": "7"})
	if got := c.Concurrency(); got["local"] != 10 || got["remote"] != 7 {
		t.Errorf("%v", got)
	}
}
