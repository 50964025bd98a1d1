package resolver

import (
	"testing"
	"time"
)

func addresses(servers []*server) (all []string) {
	for _, s := range servers {
		all = append(all, s.address)
	}
	return all
}

func TestServersAreAddressesWithOrWithoutPort(t *testing.T) {
	for given, want := range map[string]struct {
		address  string
		loopback bool
	}{
		"192.0.2.1":         {"192.0.2.1:53", false},
		"192.0.2.1:5353":    {"192.0.2.1:5353", false},
		"2001:db8::1":       {"[2001:db8::1]:53", false},
		"[2001:db8::1]:53":  {"[2001:db8::1]:53", false},
		"fe80::1%eth0":      {"[fe80::1%eth0]:53", false},
		"127.0.0.53":        {"127.0.0.53:53", true},
		"::1":               {"[::1]:53", true},
		"[::ffff:7f00:1]:5": {"[::ffff:7f00:1]:5", true},
		"dns.test:53":       {"dns.test:53", false},
	} {
		if s := newServer(given); s.address != want.address || s.loopback != want.loopback {
			t.Errorf("%s: %s, loopback %v", given, s.address, s.loopback)
		}
	}
}

func TestServersThatDidNotAnswerComeLast(t *testing.T) {
	var l serverList
	given := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
	now := time.Now()
	first := l.inOrder(given, now)[0]
	first.timedOut(now)
	if got := addresses(l.inOrder(given, now)); len(got) != 3 || got[2] != "192.0.2.1:53" || got[0] != "192.0.2.2:53" {
		t.Errorf("%q", got)
	}
	first.answered()
	if got := addresses(l.inOrder(given, now)); got[0] != "192.0.2.1:53" {
		t.Errorf("%q", got)
	}
}

func TestServersOfTheHost(t *testing.T) {
	var l serverList
	now := time.Now()
	first := l.inOrder(nil, now)
	if len(first) == 0 {
		t.Fatal("nobody to ask")
	}
	if again := l.inOrder(nil, now.Add(time.Minute)); again[0] != first[0] {
		t.Error("an unchanged file makes new servers")
	}
	var many serverList
	if n := len(many.inOrder(make([]string, 100), now)); n != maxServers {
		t.Errorf("%d servers", n)
	}
}
