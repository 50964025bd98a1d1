package filter_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

type failingDatabase struct{}

func (failingDatabase) Get([]byte) ([]byte, bool, error) { return nil, false, errors.New("broken") }

// TestScannersOfSignaturesShareLines: what one of them finds, or fails with, does
// not keep the other from its work.
func TestScannersOfSignaturesShareLines(t *testing.T) {
	const message = "Content-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA\nAAMi5kbGwAAAAA\n"
	mime := &filter.BadMIMEType{Types: filter.KeysOf("TVqQAAMAA")}
	for name, test := range map[string]struct {
		filters []filter.Filter
		rule    string
		class   sqmail.Class
	}{
		"the first finds":  {[]filter.Filter{mime, &filter.BadLoaderType{Types: filter.KeysOf("Mxxxx"), First: 'M'}}, "TVqQAAMAA", sqmail.Rejection},
		"the second finds": {[]filter.Filter{&filter.BadMIMEType{Types: filter.KeysOf("x")}, &filter.BadLoaderType{Types: filter.KeysOf("Mi5kb"), First: 'M'}}, "Mi5kb", sqmail.Rejection},
		"the first fails":  {[]filter.Filter{&filter.BadMIMEType{Types: failingDatabase{}}, &filter.BadLoaderType{Types: filter.KeysOf("Mxxxx"), First: 'M'}}, "", sqmail.Deferral},
		"the second fails": {[]filter.Filter{&filter.BadMIMEType{Types: filter.KeysOf("x")}, &filter.BadLoaderType{Types: failingDatabase{}, First: 'M'}}, "", sqmail.Deferral},
	} {
		for _, size := range []int{1, 7, 4096} {
			peer, env := &sqmail.Peer{}, &sqmail.Envelope{}
			session, err := (&filter.Chain{Filters: test.filters}).BeginSession(context.Background(), peer)
			if err != nil {
				t.Fatal(err)
			}
			p := session.(*filter.Policy)
			body := p.FilterBody(context.Background(), peer, env, strings.NewReader(message))
			for err == nil {
				_, err = body.Read(make([]byte, size))
			}
			body.(io.Closer).Close()
			if sqmail.ClassOf(err) != test.class || err == io.EOF || p.Refusal().Rule != test.rule {
				t.Errorf("%s, %d octets at a time: %v by %q", name, size, err, p.Refusal().Rule)
			}
		}
	}
}
