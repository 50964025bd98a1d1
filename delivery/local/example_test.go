package local_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/internal/maildir"
)

// Joe's mail goes into his maildir, mail for joe-news into an mbox.
func Example() {
	home, err := os.MkdirTemp("", "joe")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	if err := maildir.Dir(filepath.Join(home, "Maildir")).Create(); err != nil {
		fmt.Println(err)
		return
	}
	if err := os.WriteFile(filepath.Join(home, ".qmail-news"), []byte("# newsletters\n./news\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	agent := &local.Agent{
		Users: local.UsersFunc(func(_ context.Context, address string) (local.User, error) {
			name, ext, extended := strings.Cut(address, "-")
			if name != "joe" {
				return local.User{}, local.ErrNoUser
			}
			user := local.User{Name: "joe", Home: home, Ext: ext}
			if extended {
				user.Dash = "-"
			}
			return user, nil
		}),
	}
	text := "Subject: hi\n\nhello\n"
	m := &sqmail.Message{ID: "1", Content: strings.NewReader(text), Size: int64(len(text))}
	for _, address := range []string{"joe@example.org", "joe-news@example.org", "jim@example.org"} {
		m.Envelope.Recipients = []sqmail.Recipient{{Path: sqmail.PathOf(address)}}
		outcomes, err := agent.Deliver(context.Background(), m)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(address, ": ", outcomes[0].Class, ": ", outcomes[0].Text)
	}

	plan, err := agent.Plan(context.Background(), sqmail.Path{}, sqmail.PathOf("joe-news@example.org"))
	fmt.Println(plan.File, err)
	fmt.Print(plan)
	// Output:
	// joe@example.org: accepted: did 1+0+0
	// joe-news@example.org: accepted: did 1+0+0
	// jim@example.org: rejection: Sorry, no mailbox here by that name. (#5.1.1)
	// .qmail-news <nil>
	// mbox ./news
	// did 1+0+0
}
