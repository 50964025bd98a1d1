package auth_test

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"fmt"

	"github.com/sqmail/sqmail/auth"
)

// A store of users is one method. Match checks passwords and responses alike.
func Example() {
	passwords := map[string]string{"joe": "secret"}
	verifier := auth.VerifierFunc(func(ctx context.Context, c *auth.Credentials) (auth.Identity, error) {
		if password, found := passwords[c.User]; !found || !c.Match(password) {
			return auth.Identity{}, auth.ErrRejected
		}
		return auth.Identity{Name: c.User}, nil
	})

	// What a server does with AUTH LOGIN.
	exchange, err := auth.Start(context.Background(), verifier, "LOGIN", "mx.example.org", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, response := range []string{"", "joe", "secret"} {
		var decoded []byte // nil: no initial response
		if response != "" {
			decoded = []byte(response)
		}
		challenge, done, err := exchange.Next(decoded)
		fmt.Printf("%q %v %v\n", challenge, done, err)
	}
	fmt.Println(exchange.Identity().Name)
	// Output:
	// "Username:" false <nil>
	// "Password:" false <nil>
	// "" true <nil>
	// joe
}

func hmacMD5(secret, text string) string {
	mac := hmac.New(md5.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}
