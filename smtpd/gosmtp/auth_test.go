package gosmtp_test

import (
	"testing"

	"github.com/emersion/go-smtp"
)

func insecure(s *smtp.Server) { s.AllowInsecureAuth = true }

func TestAuth(t *testing.T) {
	b := new(authBackend)
	server := start(t, b, insecure)
	server.Talk(t, `S: 220*
C: EHLO c
S: 250-mx.example.test
S: 250-PIPELINING
S: 250-STARTTLS
S: 250-AUTH PLAIN LOGIN OAUTHBEARER MUTE
S: 250...
C: AUTH PLAIN AGpvZQBzZWNyZXQ=
S: 235 2.7.0*
C: AUTH PLAIN AGpvZQBzZWNyZXQ=
S: 503*
`)
	server.Talk(t, `S: 220*
C: EHLO c
S: 250...
C: AUTH LOGIN
S: 334 VXNlcg==
C: am9l
S: 334 UGFzc3dvcmQ=
C: c2VjcmV0
S: 235 2.7.0*
`)
	server.Talk(t, `S: 220*
C: EHLO c
S: 250...
C: AUTH OAUTHBEARER bixhPWpvZSwBYXV0aD1CZWFyZXIgdG9rZW4BAQ==
S: 235 2.7.0*
`)
	server.Close()
	b.want(t, "auth PLAIN", "user joe", "logout", "auth LOGIN", "user joe", "logout", "auth OAUTHBEARER", "token token", "logout")
}

func TestAuthRefused(t *testing.T) {
	server := start(t, new(authBackend), insecure)
	server.Talk(t, `S: 220*
C: EHLO c
S: 250...
C: AUTH MUTE
S: 502 5.7.0 Authentication not supported
C: AUTH SCRAM
S: 504 5.5.4*
C: AUTH PLAIN
S: 334 
C: *
S: 501*
C: AUTH PLAIN AGpvZQB3cm9uZw==
S: 535 5.7.8 Authentication failed
C: AUTH PLAIN AGpvZQB3cm9uZw==
S: 421*
END
`)
	// The text of an unknown error is not told, and it counts as a failure.
	server.Talk(t, `S: 220*
C: EHLO c
S: 250...
C: AUTH PLAIN AGFubgBzZWNyZXQ=
S: 454 4.7.0 authentication not possible now
C: AUTH PLAIN AGFubgBzZWNyZXQ=
S: 454 4.7.0*
C: AUTH PLAIN AGFubgBzZWNyZXQ=
S: 421*
END
`)
}

func TestBackendWithoutAuthOffersNone(t *testing.T) {
	start(t, new(backend), insecure).Talk(t, `S: 220*
C: EHLO c
S: 250-mx.example.test
S: 250-PIPELINING
S: 250-STARTTLS
S: 250-8BITMIME
S: 250...
C: AUTH PLAIN AGpvZQBzZWNyZXQ=
S: 503 5.5.1 authentication not offered
`)
}
