package delivery_test

import (
	"fmt"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

// The cost of a decision does not grow with the tables.
func BenchmarkRoute(b *testing.B) {
	for _, size := range []int{10, 100_000} {
		r := &delivery.Router{
			VirtualDomains: make(map[string]string),
			Routes:         delivery.Routes{SMTP: map[string]sqmail.Relay{".mil": {Host: "gw.test"}}},
		}
		for n := range size {
			r.Locals = append(r.Locals, fmt.Sprintf("local%d.test", n))
			r.VirtualDomains[fmt.Sprintf("virtual%d.test", n)] = "u"
			r.Routes.SMTP[fmt.Sprintf("relay%d.test", n)] = sqmail.Relay{Host: "gw.test"}
		}
		env := &sqmail.Envelope{ReversePath: sqmail.PathOf("joe@example.org")}
		for _, to := range []string{"joe@local7.test", "joe@virtual7.test", "joe@a.b.mil"} {
			path := sqmail.PathOf(to)
			b.Run(fmt.Sprintf("%s/%d", to, size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := r.Route(b.Context(), env, path); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
