package main

import (
	"encoding/base64"
	"fmt"
	"iter"
	"strings"

	"github.com/sqmail/sqmail/filter"
)

// The lists are made up, the same each time. None of their entries refuses what
// the clients send, so that every filter has to look to the end.

// kinds are the forms that the entries of badmailfrom have, and of how many in
// a hundred.
var kinds = []struct {
	share int
	form  string
}{
	{40, "spammer%d@junk%d.example"}, // an address
	{25, "@junk%d.example"},          // a domain
	{4, "?boss%d@exempt%d.example"},
	{3, "@corp%d.example+"},
	{3, "@unknown%d.example-"},
	{3, "@known%d.example="},
	{2, "~dialup%d.example"},
	{5, "*@*.sub%d.example"}, // patterns from here on
	{5, "news%d-*@*"},
	{4, "*casino%d*"},
	{3, "[a-z][0-9]%d?@*.example"},
	{2, "*[0-9]%d@bulk*.example"},
	{1, "!good%d@*.sub%d.example"},
}

// patterns counts how many of a hundred are patterns.
func patterns() (n int) {
	for _, k := range kinds {
		if strings.ContainsAny(k.form, "*[!") {
			n += k.share
		}
	}
	return n
}

// badMailFrom yields n entries.
func badMailFrom(n int) iter.Seq[string] {
	var forms []string
	for _, k := range kinds {
		for range k.share {
			forms = append(forms, k.form)
		}
	}
	return each(n, func(i int) string {
		form := forms[i%len(forms)]
		return fmt.Sprintf(form, numbers(i, strings.Count(form, "%d"))...)
	})
}

// badRcptTo yields n entries: addresses and domains, and one in five a pattern.
func badRcptTo(n int) iter.Seq[string] {
	forms := []string{"closed%d@bench.test", "gone%d@d%d.bench.test", "@old%d.bench.test", "*%%*@d%d.old", "trap%d-*@*.bench.test"}
	return each(n, func(i int) string {
		form := forms[i%len(forms)]
		return fmt.Sprintf(form, numbers(i, strings.Count(form, "%d"))...)
	})
}

// badHello yields n entries: names, and three in ten patterns.
func badHello(n int) iter.Seq[string] {
	forms := []string{"bad%d.example", "pc%d.lan", "h%d.localdomain", "host%d", "x%d.invalid", "ok%d.example!", "bad%d", "*.dsl%d.example", "pool-*-%d.*", "[0-9]*.dyn%d.example"}
	return each(n, func(i int) string { return fmt.Sprintf(forms[i%len(forms)], i) })
}

// badNames yields n patterns of names of attachments.
func badNames(n int) iter.Seq[string] {
	return each(n, func(i int) string { return fmt.Sprintf([]string{"*.x%d", "invoice%d*", "*scan%d*.zip"}[i%3], i) })
}

func domains(n int) iter.Seq[string] {
	return each(n, func(i int) string { return fmt.Sprintf("d%d.bench.test", i) })
}

// moreDomains begins where domains ends.
func moreDomains(n int) iter.Seq[string] {
	return each(n, func(i int) string { return fmt.Sprintf("m%d.bench.test", i) })
}

func users(n int) iter.Seq[string] {
	return each(n, func(i int) string { return fmt.Sprintf("user%d@m%d.bench.test", i, i) })
}

// mailFromRules yields n rules, the last of which is for the clients.
func mailFromRules(n int) iter.Seq[string] {
	return each(n, func(i int) string {
		switch {
		case i == n-1:
			return "=.client.test&.bench.test"
		case i%2 == 0:
			return fmt.Sprintf("10.%d.%d.%d&@d%d.bench.test", i>>16, i>>8&255, i&255, i)
		}
		return fmt.Sprintf("user%d&@m%d.bench.test,@d%d.bench.test", i, i, i)
	})
}

// addresses yields n rules by address, and one for the rest.
func addresses(n int) iter.Seq[string] {
	return each(n, func(i int) string {
		switch {
		case i == n-1:
			return ":allow"
		case i%10 == 0:
			return fmt.Sprintf("10.%d.%d.%d/31:allow,MAXRECIPIENTS=\"%d\"", i>>16, i>>8&255, i&254, 100+i%50)
		}
		return fmt.Sprintf("10.%d.%d.%d:deny", i>>16, i>>8&255, i&255)
	})
}

// signatures yields n texts of so many characters that begin with "M", none of
// which is in attachment.
func signatures(n, length int) iter.Seq[string] {
	return each(n, func(i int) string {
		k := i * 157 // three octets for 100,000: they are all different
		return "M" + base64.StdEncoding.EncodeToString([]byte{byte(k), byte(k >> 8), byte(k >> 16), 0xfe, 0xfd, 0xfc})[:length-1]
	})
}

func each(n int, entry func(i int) string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range n {
			if !yield(entry(i)) {
				return
			}
		}
	}
}

func numbers(i, n int) []any {
	list := make([]any, n)
	for k := range list {
		list[k] = i
	}
	return list
}

// rules makes rules of entries.
func rules(entries iter.Seq[string]) []filter.Rule {
	var list []filter.Rule
	for text := range entries {
		list = append(list, filter.Rule{Text: text, File: "control/list", Line: len(list) + 1})
	}
	return list
}

func lines(entries iter.Seq[string]) string {
	var b strings.Builder
	for text := range entries {
		b.WriteString(text + "\n")
	}
	return b.String()
}
