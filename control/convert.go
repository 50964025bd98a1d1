package control

import (
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// Greeting returns the host name and the text of the greeting.
func (c *Config) Greeting() (host, text string) {
	host, text = cutWord(c.SMTPGreeting)
	return host, strings.TrimLeft(text, " \t")
}

// Bounces returns how the queue reports to senders.
func (c *Config) Bounces() queue.Bounces {
	b := queue.Bounces{Host: c.BounceHost, From: c.BounceFrom, MaxBytes: c.BounceMaxBytes, DropDouble: c.DoubleBounceTo == ""}
	if !b.DropDouble {
		b.DoubleTo = sqmail.PathOf(c.DoubleBounceTo + "@" + c.DoubleBounceHost)
	}
	return b
}

// Concurrency returns the number of deliveries at a time by channel, for the
// queue.
func (c *Config) Concurrency() map[string]int {
	return map[string]int{sqmail.ChannelLocal: c.ConcurrencyLocal, sqmail.ChannelRemote: c.ConcurrencyRemote}
}
