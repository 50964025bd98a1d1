package control

import (
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sqmail/sqmail/filter"
)

// homeOf is a home with the files given; mx.test is its own domain.
func homeOf(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{
		"control/me":        {Data: []byte("mx.test\n")},
		"control/rcpthosts": {Data: []byte("mx.test\n")},
		"control/services":  {Data: []byte("smtpd smtp 127.0.0.1:0\n")},
	}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func profileOf(c *Config, addr string) *Profile {
	return c.Services[0].For(Client{Addr: netip.MustParseAddr(addr)})
}

// namesOf returns the names of the filters for a client.
func namesOf(c *Config, addr string) string {
	var names []string
	for _, f := range c.Filters(Parts{}).For(profileOf(c, addr)) {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}

func named(list []filter.Filter, name string) filter.Filter {
	for _, f := range list {
		if f.Name() == name {
			return f
		}
	}
	return nil
}

// TestWhatIsBoundedIsShared: however many rules there are, so many scanners run.
func TestWhatIsBoundedIsShared(t *testing.T) {
	c, err := LoadFS(homeOf(map[string]string{
		"control/services": `smtpd smtp 127.0.0.1:0 QHPSI="x" MILTER="/m" POSTGREY="127.0.0.1" rules=rules.x` + "\n",
		"control/rules.x":  "10.:allow,SITE=\"2\"\n192.0.2.:allow,REPLY_CONTENT=\"no\"\n",
	}), "/nowhere")
	if err != nil {
		t.Fatal(err)
	}
	filters := c.Filters(Parts{})
	defer filters.Close()
	one, two, other := filters.For(profileOf(c, "198.51.100.1")), filters.For(profileOf(c, "10.0.0.1")), filters.For(profileOf(c, "192.0.2.1"))
	for _, name := range []string{"qhpsi", "milter", "postgrey"} {
		if named(one, name) == nil || named(one, name) != named(two, name) {
			t.Errorf("%s: %p, %p", name, named(one, name), named(two, name))
		}
	}
	if named(one, "qhpsi") == named(other, "qhpsi") {
		t.Error("different texts in one filter")
	}
}
