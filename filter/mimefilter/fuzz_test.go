package mimefilter_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/mimefilter"
)

// Whatever a message is, it is judged within the limits, and no otherwise if
// it comes in other pieces.
func FuzzMessage(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n\n--b--\n", uint8(1))
	f.Add("Content-Disposition: attachment; filename*0*=utf-8''%41; filename*1=\"=?utf-8?Q?=2Eexe?=\"\n\nbegin 644 x.exe\n", uint8(7))
	f.Add(nested(70), uint8(100))
	f.Add(flat(20), uint8(2))
	f.Add(encoded(2, "Content-Disposition: attachment; filename=a.exe\n\n"), uint8(3))
	f.Add("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"+encode64("Content-Disposition: attachment; filename=a.exe\n\n"), uint8(3))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		type seen struct {
			parts   []mimefilter.Part
			verdict sqmail.Verdict
		}
		var results [2]seen
		for i, piece := range []int{1 << 20, int(n) + 1} {
			r := &results[i]
			filter := &mimefilter.Filter{
				MaxDepth: 5, MaxParts: 20, MaxHeader: 2000, MaxFieldLines: 10, Names: patterns("*.exe"), Types: patterns("x/*"),
				Part: func(_ context.Context, p *mimefilter.Part) (sqmail.Verdict, error) {
					r.parts = append(r.parts, *p)
					return sqmail.Verdict{}, nil
				},
			}
			v, err := look(t, filter, text, piece)
			if err != nil {
				t.Error(err)
			}
			r.verdict = v
		}
		if !reflect.DeepEqual(results[0], results[1]) {
			t.Errorf("in one piece:\n%+v\nin pieces of %d:\n%+v", results[0], int(n)+1, results[1])
		}
		for _, p := range results[0].parts {
			if p.Depth > 6 || p.Number > 20 || len(p.Names) > 32 || p.Type != strings.ToLower(p.Type) {
				t.Errorf("%+v", p)
			}
		}
	})
}
