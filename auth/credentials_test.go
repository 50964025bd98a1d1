package auth_test

import (
	"errors"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
)

const (
	specChallenge = "<12345.1700000000@mx.example.com>"
	specCRAM      = "7b9f1100206bfe5a6fc1f8a313d6697a"
	specAPOP      = "f915e7383114ebab043f80ed2d8ff3f0"
)

func TestMatchIsBoundToTheMechanism(t *testing.T) {
	tests := []struct {
		name     string
		c        auth.Credentials
		password string
		want     bool
	}{
		{"plain", auth.Credentials{Mechanism: "plain", Password: "secret"}, "secret", true},
		{"login", auth.Credentials{Mechanism: "login", Password: "secret"}, "secret", true},
		{"user", auth.Credentials{Mechanism: "user", Password: "secret"}, "secret", true},
		{"wrong", auth.Credentials{Mechanism: "plain", Password: "Secret"}, "secret", false},
		{"prefix", auth.Credentials{Mechanism: "plain", Password: "secre"}, "secret", false},
		{"nothing is no password", auth.Credentials{Mechanism: "plain"}, "", false},
		{"cram", auth.Credentials{Mechanism: "cram-md5", Challenge: specChallenge, Response: specCRAM}, "secret", true},
		// RFC 2195, 2.
		{"cram of the RFC", auth.Credentials{Mechanism: "cram-md5", Challenge: "<1896.697170952@postoffice.reston.mci.net>",
			Response: "b913a602c7eda7a495b4e6e7334d3890"}, "tanstaaftanstaaf", true},
		{"apop", auth.Credentials{Mechanism: "apop", Challenge: specChallenge, Response: specAPOP}, "secret", true},
		// RFC 1939, 7.
		{"apop of the RFC", auth.Credentials{Mechanism: "apop", Challenge: "<1896.697170952@dbc.mtview.ca.us>",
			Response: "c4c9334bac560ecc979e58001b3e22fb"}, "tanstaaf", true},
		{"password for a digest", auth.Credentials{Mechanism: "cram-md5", Challenge: specChallenge, Response: "secret"}, "secret", false},
		{"password for an apop digest", auth.Credentials{Mechanism: "apop", Challenge: specChallenge, Response: "secret"}, "secret", false},
		{"password beside a challenge", auth.Credentials{Mechanism: "plain", Challenge: specChallenge, Password: "secret"}, "secret", false},
		{"apop digest for cram", auth.Credentials{Mechanism: "cram-md5", Challenge: specChallenge, Response: specAPOP}, "secret", false},
		{"no challenge", auth.Credentials{Mechanism: "cram-md5", Response: "5a6c2ad7e6d8b2b4ee4e0a5b2f3b2b1a"}, "secret", false},
		{"no password known", auth.Credentials{Mechanism: "cram-md5", Challenge: specChallenge, Response: "74e6f7298a9c2d168935f58c001bad88"}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.c.Match(tt.password); got != tt.want {
				t.Errorf("Match = %v", got)
			}
		})
	}
}

func TestShowsPassword(t *testing.T) {
	for mechanism, want := range map[string]bool{"PLAIN": true, "login": true, "user": true, "CRAM-MD5": false, "apop": false} {
		if got := auth.ShowsPassword(mechanism); got != want {
			t.Errorf("ShowsPassword(%s) = %v", mechanism, got)
		}
	}
}

func TestRejectedIsARejectionAndHidesItsReason(t *testing.T) {
	err := auth.Rejected("no such user")
	if !errors.Is(err, auth.ErrRejected) {
		t.Error("not ErrRejected")
	}
	if got := sqmail.ClassOf(err); got != sqmail.Rejection {
		t.Errorf("class %v", got)
	}
	if got := sqmail.ReplyFor(err).String(); got != "535 5.7.8 authentication failed" {
		t.Errorf("reply %q", got)
	}
}
