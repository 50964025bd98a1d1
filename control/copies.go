package control

import (
	"context"

	"github.com/sqmail/sqmail/filter"
)

// setDeliverTo takes the addresses of DELIVERTO. Whether they are ours is
// looked at by checkCopies.
func (f *FilterSettings) setDeliverTo(v string) (err error) {
	f.DeliverTo, err = filter.ParseDeliverTo(context.Background(), v, nil)
	return err
}

// checkCopies refuses copies for elsewhere: they would be relayed whoever
// sends.
func checkCopies(c *Config, value string, complain func(bool, string, ...any)) {
	if _, err := filter.ParseDeliverTo(context.Background(), value, nil); err != nil {
		return // which was told
	}
	if _, err := filter.ParseDeliverTo(context.Background(), value, c.RcptFilter()); err != nil {
		complain(true, "DELIVERTO: %v", err)
	}
}
