package control

import (
	"github.com/sqmail/sqmail/filter"
)

// For returns the filters for the clients of a profile, in the order in which
// their verdicts count (smtpd.md, 4.5). They may be shared by any number of
// sessions.
func (f *Filters) For(p *Profile) []filter.Filter {
	c, dns := f.config, f.parts.Resolver
	text := p.Texts
	badMailFrom := c.badMailFrom.WithText(text["BADMAILFROM"])
	rcptHosts := c.RcptFilter()
	rcptHosts.Text = text["NOGATEWAY"]

	list := []filter.Filter{&filter.OwnLiterals{Domain: c.LocalIPHost, IsOwn: f.parts.IsOwn}}
	if lists := f.dnsLists(p.Settings); lists != nil {
		list = append(list, lists)
	}
	if p.HelloCheck != nil {
		hello := *c.badHello
		hello.Mode, hello.Resolver, hello.Text = *p.HelloCheck, dns, text["HELO"]
		list = append(list, &hello)
	}
	if p.SenderDomain {
		list = append(list, &filter.SenderDomain{Resolver: dns, Exempt: badMailFrom.Exempt, Text: text["SENDEREXIST"]})
	}
	list = append(list, rcptHosts)
	if tarpit := p.Tarpit; tarpit.Count > 0 {
		list = append(list, &tarpit)
	}
	if c.recipients != nil {
		list = append(list, &filter.Recipients{Rules: c.recipients, Defer: p.Recipients450, Text: text["MAILBOX"]})
	}
	if p.SenderCheck != nil {
		sender := *p.SenderCheck
		sender.Hosts, sender.Rules, sender.Text = rcptHosts, c.mailFromRules, text["SENDERINVALID"]
		list = append(list, &sender)
	}
	list = append(list, filter.RelaySuffix(p.RelaySuffix), badMailFrom, c.badRcptTo.WithText(text["BADRCPTTO"]))
	list = append(list, f.greylists(p.Settings)...)
	if len(p.DeliverTo) > 0 {
		list = append(list, p.DeliverTo)
	}
	list = append(list, f.signatures(p.Settings)...)
	return append(list, f.scanners(p.Settings)...)
}

// signatures makes the filters that look at how base64 parts begin.
func (f *Filters) signatures(s *Settings) (list []filter.Filter) {
	c, text := f.config, s.Texts["CONTENT"]
	if types := s.MIMETypes; types != nil {
		mime := *types
		mime.Types, mime.Text = c.BadMIMETypes, text
		list = append(list, &mime)
	}
	if types := s.LoaderTypes; types != nil && c.BadLoaderTypes != nil {
		loader := *types
		loader.Types, loader.Text = c.BadLoaderTypes, text
		list = append(list, &loader)
	}
	return list
}
