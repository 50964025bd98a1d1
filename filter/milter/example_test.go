package milter_test

import (
	"context"
	"fmt"
	"net"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/milter"
)

// noSpam is a milter that wants no mail from example.com.
type noSpam struct{ gomilter.NoOpMilter }

func (noSpam) MailFrom(from string, _ *gomilter.Modifier) (gomilter.Response, error) {
	if strings.HasSuffix(from, "@example.com") {
		return gomilter.NewResponseStr('y', "550 5.7.1 not from there"), nil
	}
	return gomilter.RespContinue, nil
}

func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go (&gomilter.Server{NewMilter: func() gomilter.Milter { return noSpam{} }}).Serve(l)

	chain := &filter.Chain{Filters: []filter.Filter{&milter.Filter{Address: l.Addr().String()}}}
	ctx, end := context.WithCancel(context.Background()) // of the session
	defer end()
	peer := &sqmail.Peer{Hello: "mail.example.com"}
	begun, err := chain.BeginSession(ctx, peer)
	if err != nil {
		fmt.Println(err)
		return
	}
	policy := begun.(*filter.Policy)
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@example.com")}
	fmt.Println(sqmail.ReplyFor(policy.CheckReversePath(ctx, peer, env)))
	// Output: 550 5.7.1 not from there
}
