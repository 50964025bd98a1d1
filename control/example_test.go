package control_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/sqmail/sqmail/control"
)

// Make a home, spoil it, and have it checked.
func Example() {
	parent, err := os.MkdirTemp("", "control")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(parent)
	home := filepath.Join(parent, "qmail")

	if err := control.Init(home, "mx.example.org", control.InitOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	config, err := control.Load(home)
	if err != nil {
		fmt.Println(err)
		return
	}
	smtpd := config.Services[0]
	for _, from := range []string{"127.0.0.1", "192.0.2.1"} {
		client := smtpd.For(control.Client{Addr: netip.MustParseAddr(from)})
		fmt.Println(from, "may relay:", client.RelayClient, "by rule", client.Rule.Line)
	}

	os.WriteFile(filepath.Join(home, "control", "smtproutes"), []byte("example.net:relay.example.org;smtp\n"), 0o640)
	os.WriteFile(filepath.Join(home, "control", "local"), []byte("example.org\n"), 0o640)
	for _, problem := range control.Check(home) {
		fmt.Println(problem)
	}
	// Output:
	// 127.0.0.1 may relay: true by rule 3
	// 192.0.2.1 may relay: false by rule 5
	// control/smtproutes:1: delivery: port "smtp" is not a number from 1 to 65535
	// control/local: warning: there is no such control file; it has no effect
}
