package maildir_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sqmail/sqmail/internal/maildir"
)

func Example() {
	home, err := os.MkdirTemp("", "home")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(home)
	dir := maildir.Dir(filepath.Join(home, "Maildir"))
	if err := dir.Create(); err != nil {
		fmt.Println(err)
		return
	}

	w := &maildir.Writer{Host: "mx.example.org"}
	if _, err := w.Deliver(context.Background(), string(dir), strings.NewReader("Subject: hi\n\nhello\n")); err != nil {
		fmt.Println(err)
		return
	}

	messages, err := dir.List(0)
	for _, m := range messages {
		f, err := dir.Open(m)
		if err != nil {
			fmt.Println(err)
			continue
		}
		text, err := io.ReadAll(f)
		f.Close()
		fmt.Printf("%q %v\n%d octets, %d on the wire\n", text, err, m.Size, m.Wire)
	}
	fmt.Println(err)
	// Output:
	// "Subject: hi\n\nhello\n" <nil>
	// 19 octets, 22 on the wire
	// <nil>
}
