package control

import (
	"cmp"
	"errors"
	"time"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/policy"
)

// setGreylist takes the words behind GREYLIST.
func (f *FilterSettings) setGreylist(v string) error {
	f.Greylist = nil
	if v == "-" {
		return nil
	}
	g := new(filter.Greylist)
	const year = 366 * 24 * time.Hour
	err := options{
		"delay": duration(&g.Delay, 24*time.Hour), "window": duration(&g.Window, year), "lifetime": duration(&g.Lifetime, year),
	}.all(v)
	const usual = 5 * time.Minute // filter.Greylist's delay
	if err == nil && g.Window > 0 && g.Window <= cmp.Or(g.Delay, usual) {
		err = errors.New("window is no longer than delay: nobody would ever be let in")
	}
	if err == nil {
		f.Greylist = g
	}
	return err
}

func (f *FilterSettings) setPostgrey(v string) (err error) {
	f.Postgrey = ""
	if v == "-" {
		return nil
	}
	f.Postgrey, err = policy.ParsePostgrey(v)
	return err
}

// greylists makes the filters that defer who has not been seen before.
func (f *Filters) greylists(s *Settings) (list []filter.Filter) {
	text := s.Texts["GREYLISTED"]
	if s.Greylist != nil {
		g := *s.Greylist
		g.Store, g.Text, g.Log = f.parts.Greylist, text, f.parts.Log
		list = append(list, &g)
	}
	if s.Postgrey != "" {
		type key struct{ postgrey, text string }
		list = append(list, f.share(key{s.Postgrey, text}, func() filter.Filter {
			return &policy.Postgrey{Client: &policy.Client{Address: s.Postgrey}, Text: text, Log: f.parts.Log}
		}))
	}
	return list
}
