package delivery_test

import (
	"context"
	"fmt"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
)

func Example() {
	relay, err := delivery.ParseRelay("smarthost.example.net;587|user|password")
	if err != nil {
		fmt.Println(err)
		return
	}
	router := &delivery.Router{
		EnvNoAtHost:    "example.org",
		Locals:         []string{"example.org"},
		VirtualDomains: map[string]string{"shop.example.com": "joe-shop"},
		Routes:         delivery.Routes{SMTP: map[string]sqmail.Relay{"": relay}},
	}
	env := &sqmail.Envelope{ReversePath: sqmail.PathOf("ann@example.org")}
	for _, address := range []string{"postmaster", "info@shop.example.com", "eve@elsewhere.test"} {
		to, err := router.Route(context.Background(), env, sqmail.PathOf(address))
		fmt.Println(to.Route.Channel, to.Deliver, to.Route.Destination, err)
	}

	plan, err := router.Explain(env, sqmail.PathOf("info@shop.example.com"))
	fmt.Print(plan)
	fmt.Println(err)
	// Output:
	// local postmaster@example.org postmaster@example.org <nil>
	// local joe-shop-info@shop.example.com joe-shop-info@shop.example.com <nil>
	// remote eve@elsewhere.test smarthost.example.net;587 <nil>
	// info@shop.example.com: virtualdomains "shop.example.com" -> joe-shop
	// local joe-shop-info@shop.example.com by joe-shop-info@shop.example.com
	// <nil>
}
