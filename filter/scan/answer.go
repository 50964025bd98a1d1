package scan

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// rspamdAnswer is what we read of an answer.
type rspamdAnswer struct {
	Action   string  `json:"action"`
	Score    float64 `json:"score"`
	Required float64 `json:"required_score"` // or null
	Error    string  `json:"error"`
	Symbols  object  `json:"symbols"`
	Messages object  `json:"messages"`

	// Signature is a field's value, or several.
	Signature json.RawMessage `json:"dkim-signature"`

	Milter struct {
		Add object `json:"add_headers"`
	} `json:"milter"`
}

// object is an object, or an empty list: Lua does not tell them apart.
type object map[string]json.RawMessage

func (o *object) UnmarshalJSON(text []byte) error {
	if bytes.HasPrefix(text, []byte("[")) {
		return nil
	}
	return json.Unmarshal(text, (*map[string]json.RawMessage)(o))
}

func parseRspamd(raw []byte) (a rspamdAnswer, err error) {
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, err
	}
	switch {
	case a.Error != "":
		return a, errors.New(field.ASCII(a.Error, 200))
	case a.Action == "":
		return a, errors.New("answer without an action")
	}
	return a, nil
}

func (a *rspamdAnswer) rule() string {
	return fmt.Sprintf("%s, score %.1f/%.1f", field.ASCII(a.Action, 100), a.Score, a.Required)
}

func (a *rspamdAnswer) symbolList() string {
	return symbolList(strings.Join(slices.Sorted(maps.Keys(a.Symbols)), ","))
}

// reply returns r with the text that rspamd has for the client, if any.
func (a *rspamdAnswer) reply(r sqmail.Reply) sqmail.Reply {
	var text string
	if raw := a.Messages["smtp_message"]; raw != nil && json.Unmarshal(raw, &text) == nil && text != "" {
		r.Text = field.ASCII(text, 200)
	}
	return r
}

// addition is one field that rspamd wants to add.
type addition struct {
	name  string
	Value string `json:"value"`
	Order int    `json:"order"`
}

// fields returns the fields to add, in an order that does not change.
func (a *rspamdAnswer) fields() string {
	var all []addition
	for name, raw := range a.Milter.Add {
		all = appendFields(all, name, raw)
	}
	all = appendFields(all, "DKIM-Signature", a.Signature)
	slices.SortStableFunc(all, func(x, y addition) int {
		return cmp.Or(cmp.Compare(x.Order, y.Order), strings.Compare(x.name, y.name))
	})
	var header []byte
	for _, f := range all {
		if len(header) < maxAnswer {
			header = field.Append(header, f.name, f.Value)
		}
	}
	return string(header)
}

// appendFields appends what raw is: a string, an object, or a list of these.
func appendFields(all []addition, name string, raw json.RawMessage) []addition {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, item := range list {
		f := addition{name: name}
		if json.Unmarshal(item, &f.Value) != nil && json.Unmarshal(item, &f) != nil || f.Value == "" {
			continue
		}
		all = append(all, f)
	}
	return all
}

// tlsVersion returns the version in rspamd's words: "TLSv1.3".
func tlsVersion(v uint16) string { return strings.Replace(tls.VersionName(v), "TLS ", "TLSv", 1) }

func tlsCipher(id uint16) string { return tls.CipherSuiteName(id) }
