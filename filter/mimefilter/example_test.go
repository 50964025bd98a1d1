package mimefilter_test

import (
	"context"
	"fmt"
	"io"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/mimefilter"
)

func Example() {
	f := &mimefilter.Filter{
		Names: mimefilter.NewPatterns([]filter.Rule{{Text: "*.exe"}, {Text: "*.zip"}, {Text: "!report.zip"}}),
		Types: mimefilter.NewPatterns([]filter.Rule{{Text: "multipart/encrypted"}}),
	}
	s, err := f.Body(context.Background(), new(filter.Session))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	io.WriteString(s, `Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: application/zip; name="report.zip"

--b
Content-Disposition: attachment; filename*=utf-8''holiday%2Ejpg%2EEXE

--b--
`)
	v, err := s.End()
	fmt.Println(v.Reply, err)
	fmt.Println(v.Rule, v.Input)
	// Output:
	// 554 5.3.2 sorry, invalid message content (attachment) <nil>
	// *.exe holiday.jpg.exe
}
