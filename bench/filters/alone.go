package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/bench/internal/meter"
	"github.com/sqmail/sqmail/filter"
)

// alone measures what each filter costs by itself, without a server.
func (b *bench) alone(l *lists) error {
	message := bytes.ReplaceAll(message(b.client.size), []byte("\r\n"), []byte("\n"))
	all := l.all(false)
	if err := b.asked(all, message); err != nil {
		return err
	}
	base, err := b.work(emptyChain(), message)
	if err != nil {
		return err
	}
	fmt.Printf("%-22s %10s %8s %8s\n", "each filter alone", "ns", "allocs", "B")
	for _, f := range all.Filters {
		u, err := b.work(emptyChain(f), message)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
		printAlone(f.Name(), u, base)
	}
	u, err := b.work(all, message)
	printAlone("all", u, base)
	return err
}

// asked prints how often each filter says something of a message, be it that
// it has nothing to say: all of them are really asked.
func (b *bench) asked(c *filter.Chain, message []byte) error {
	from, to := pair(3, b.client.records)
	steps, err := c.Explain(context.Background(), &filter.Facts{
		Peer: &sqmail.Peer{Remote: netip.AddrPortFrom(clientAddress(3), 40000), Name: "mail-out-7.client.test", Hello: "client.test"},
		From: sqmail.PathOf(from), To: []sqmail.Path{sqmail.PathOf(to)}, Message: bytes.NewReader(message),
	})
	verdicts := map[string]int{}
	for _, step := range steps {
		for _, v := range step.Verdicts {
			verdicts[v.Filter]++
			if v.Action >= sqmail.ActionDefer {
				err = errors.Join(err, v.Err())
			}
		}
	}
	fmt.Printf("verdicts on a message:")
	for _, f := range c.Filters {
		fmt.Printf(" %s %d", f.Name(), verdicts[f.Name()])
	}
	fmt.Println()
	return err
}

func printAlone(name string, u, base meter.Usage) {
	fmt.Printf("  %-20s %10d %8d %8d\n", name, (u.CPU-base.CPU).Nanoseconds()/turns, int64(u.Allocs-base.Allocs)/turns, int64(u.Bytes-base.Bytes)/turns)
}

// turns is how many messages go through each.
const turns = 20_000

// work lets a chain judge messages, one after the other in one session.
func (b *bench) work(c *filter.Chain, message []byte) (meter.Usage, error) {
	ctx := context.Background()
	peer := &sqmail.Peer{Remote: netip.AddrPortFrom(clientAddress(3), 40000), Name: "mail-out-7.client.test", Hello: "client.test"}
	session, err := c.BeginSession(ctx, peer)
	if err != nil {
		return meter.Usage{}, err
	}
	p := session.(*filter.Policy)
	if err := p.CheckHello(ctx, peer); err != nil {
		return meter.Usage{}, err
	}
	buf := make([]byte, 32<<10)
	before := meter.Now()
	for i := range turns {
		from, to := pair(i%pairs, b.client.records)
		env := &sqmail.Envelope{ReversePath: sqmail.PathOf(from)}
		rcpt := &sqmail.Recipient{Path: sqmail.PathOf(to)}
		err := p.CheckReversePath(ctx, peer, env)
		if err == nil {
			err = p.CheckRecipient(ctx, peer, env, rcpt)
		}
		if err == nil {
			err = p.CheckData(ctx, peer, env)
		}
		if err != nil {
			return meter.Usage{}, err
		}
		body := p.FilterBody(ctx, peer, env, io.LimitReader(bytes.NewReader(message), int64(len(message))))
		for err == nil {
			_, err = body.Read(buf)
		}
		if c, ok := body.(io.Closer); ok {
			c.Close()
		}
		if err != io.EOF {
			return meter.Usage{}, err
		}
	}
	used, _ := meter.Since(before)
	return used, nil
}
