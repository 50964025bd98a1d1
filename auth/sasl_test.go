package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/auth"
)

var _ sasl.Server = (*auth.Exchange)(nil)

// joe knows one user, and keeps the credentials that it was asked about.
type joe struct {
	asked []auth.Credentials
	err   error
}

func (v *joe) Verify(_ context.Context, c *auth.Credentials) (auth.Identity, error) {
	v.asked = append(v.asked, *c)
	if v.err != nil {
		return auth.Identity{}, v.err
	}
	if c.User != "joe@example.com" || !c.Match("secret") {
		return auth.Identity{}, auth.ErrRejected
	}
	return auth.Identity{}, nil
}

func start(t *testing.T, v auth.Verifier, mechanism string) *auth.Exchange {
	t.Helper()
	e, err := auth.Start(t.Context(), v, mechanism, "mx.example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// dialogue gives the client's responses, in base64, one after the other: "-"
// for no initial response. It returns the challenges in base64, and the end.
func dialogue(e *auth.Exchange, responses ...string) (challenges []string, err error) {
	for _, r := range responses {
		var response []byte
		if r != "-" {
			response, _ = base64.StdEncoding.AppendDecode([]byte{}, []byte(r))
		}
		challenge, done, err := e.Next(response)
		if err != nil {
			return challenges, err
		}
		if done {
			return append(challenges, "done"), nil
		}
		challenges = append(challenges, base64.StdEncoding.EncodeToString(challenge))
	}
	return challenges, nil
}

func TestTranscriptsOfTheSpec(t *testing.T) {
	tests := []struct {
		name, mechanism string
		client          []string
		want            string
	}{
		{"login", "LOGIN", []string{"-", "am9lQGV4YW1wbGUuY29t", "c2VjcmV0"}, "VXNlcm5hbWU6 UGFzc3dvcmQ6 done"},
		{"login, initial", "login", []string{"am9lQGV4YW1wbGUuY29t", "c2VjcmV0"}, "UGFzc3dvcmQ6 done"},
		{"plain", "PLAIN", []string{"-", "AGpvZUBleGFtcGxlLmNvbQBzZWNyZXQ="}, " done"},
		{"plain, initial", "Plain", []string{"AGpvZUBleGFtcGxlLmNvbQBzZWNyZXQ="}, "done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, &joe{}, tt.mechanism)
			got, err := dialogue(e, tt.client...)
			if err != nil || strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, %v", got, err)
			}
			if e.Identity().Name != "joe@example.com" || e.User() != "joe@example.com" {
				t.Errorf("identity %+v, user %q", e.Identity(), e.User())
			}
		})
	}
}

func TestCRAMMD5(t *testing.T) {
	v := &joe{}
	e := start(t, v, "CRAM-MD5")
	challenge, done, err := e.Next(nil)
	if done || err != nil {
		t.Fatal(done, err)
	}
	c := auth.Credentials{Mechanism: "cram-md5", Challenge: string(challenge)}
	response := "joe@example.com " + responseFor(t, &c, "secret")
	if _, done, err := e.Next([]byte(response)); !done || err != nil {
		t.Fatal(done, err)
	}
	if len(v.asked) != 1 || v.asked[0].Challenge != string(challenge) || v.asked[0].HasPassword() {
		t.Errorf("the verifier was asked %+v", v.asked)
	}
}

// responseFor makes the client's digest.
func responseFor(t *testing.T, c *auth.Credentials, password string) string {
	t.Helper()
	c.Response = hmacMD5(password, c.Challenge)
	if !c.Match(password) {
		t.Fatal("the response does not match")
	}
	return c.Response
}

func TestUserNamesOfCRAMMD5MayHoldBlanks(t *testing.T) {
	v := &joe{}
	e := start(t, v, "CRAM-MD5")
	e.Next(nil)
	e.Next([]byte("joe q public " + specCRAM))
	if len(v.asked) != 1 || v.asked[0].User != "joe q public" {
		t.Errorf("asked %+v", v.asked)
	}
}

func TestMalformedResponsesReachNobody(t *testing.T) {
	long, longPassword := strings.Repeat("u", auth.MaxUser+1), strings.Repeat("p", auth.MaxPassword+1)
	tests := []struct {
		name, mechanism string
		responses       []string // raw; "-" is none
	}{
		{"plain, empty", "PLAIN", []string{""}},
		{"plain, empty twice", "PLAIN", []string{"-", ""}},
		{"plain, one NUL", "PLAIN", []string{"joe\x00secret"}},
		{"plain, three NULs", "PLAIN", []string{"\x00joe\x00sec\x00ret"}},
		{"plain, no user", "PLAIN", []string{"\x00\x00secret"}},
		{"plain, no password", "PLAIN", []string{"\x00joe\x00"}},
		{"plain, long user", "PLAIN", []string{"\x00" + long + "\x00x"}},
		{"plain, long password", "PLAIN", []string{"\x00joe\x00" + longPassword}},
		{"plain, user not UTF-8", "PLAIN", []string{"\x00j\xff\x00x"}},
		{"login, no user", "LOGIN", []string{"-", ""}},
		{"login, empty initial response", "LOGIN", []string{""}},
		{"login, NUL in user", "LOGIN", []string{"-", "j\x00oe"}},
		{"login, no password", "LOGIN", []string{"joe", ""}},
		{"login, NUL in password", "LOGIN", []string{"joe", "a\x00b"}},
		{"login, long user", "LOGIN", []string{long}},
		{"login, long password", "LOGIN", []string{"joe", longPassword}},
		{"cram, initial response", "CRAM-MD5", []string{"joe " + specCRAM}},
		{"cram, no blank", "CRAM-MD5", []string{"-", specCRAM}},
		{"cram, no user", "CRAM-MD5", []string{"-", " " + specCRAM}},
		{"cram, upper case", "CRAM-MD5", []string{"-", "joe " + strings.ToUpper(specCRAM)}},
		{"cram, password", "CRAM-MD5", []string{"-", "joe secret"}},
		{"cram, empty", "CRAM-MD5", []string{"-", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := &joe{}
			e := start(t, v, tt.mechanism)
			var err error
			for _, r := range tt.responses {
				response := []byte(r)
				if r == "-" {
					response = nil
				} else if r == "" {
					response = []byte{}
				}
				if _, _, err = e.Next(response); err != nil {
					break
				}
			}
			if !errors.Is(err, auth.ErrMalformed) || len(v.asked) > 0 {
				t.Errorf("err %v, asked %+v", err, v.asked)
			}
		})
	}
}

// RFC 4616, 2: an authorization identity asks to act for somebody.
func TestNobodyActsForSomebodyElse(t *testing.T) {
	v := &joe{}
	_, err := dialogue(start(t, v, "PLAIN"), base64.StdEncoding.EncodeToString([]byte("root\x00joe@example.com\x00secret")))
	if !errors.Is(err, auth.ErrRejected) || len(v.asked) > 0 {
		t.Errorf("err %v, asked %+v", err, v.asked)
	}
	_, err = dialogue(start(t, v, "PLAIN"), base64.StdEncoding.EncodeToString([]byte("joe@example.com\x00joe@example.com\x00secret")))
	if err != nil {
		t.Errorf("for oneself: %v", err)
	}
}

func TestErrorsOfTheVerifierArePassedOn(t *testing.T) {
	broken := errors.New("the store is on fire")
	for _, want := range []error{broken, auth.ErrRejected} {
		e := start(t, &joe{err: want}, "PLAIN")
		_, done, err := e.Next([]byte("\x00joe\x00secret"))
		if !done || !errors.Is(err, want) {
			t.Errorf("done %v, err %v, want %v", done, err, want)
		}
		if e.Identity() != (auth.Identity{}) {
			t.Errorf("identity %+v after a failure", e.Identity())
		}
	}
}

func TestExchangeIsOverOnceItIsDone(t *testing.T) {
	v := &joe{}
	e := start(t, v, "PLAIN")
	e.Next([]byte("\x00joe\x00wrong"))
	if _, done, err := e.Next([]byte("\x00joe@example.com\x00secret")); !done || err == nil {
		t.Errorf("a second try in one exchange: %v, %v", done, err)
	}
	for _, mechanism := range []string{"LOGIN", "CRAM-MD5"} {
		v := &joe{}
		e := start(t, v, mechanism)
		for range 8 {
			e.Next(nil)
			e.Next([]byte("joe " + specCRAM))
		}
		if len(v.asked) > 1 {
			t.Errorf("%s: the verifier was asked %d times", mechanism, len(v.asked))
		}
	}
}

func TestUnknownMechanism(t *testing.T) {
	for _, mechanism := range []string{"", "XOAUTH2", "APOP", "USER"} {
		if _, err := auth.Start(t.Context(), &joe{}, mechanism, "h", nil); !errors.Is(err, auth.ErrMechanism) {
			t.Errorf("%q: %v", mechanism, err)
		}
	}
	for _, mechanism := range auth.Mechanisms() {
		if _, err := auth.Start(t.Context(), &joe{}, mechanism, "h", nil); err != nil {
			t.Errorf("%q: %v", mechanism, err)
		}
	}
}

func TestVerifierSeesThePeer(t *testing.T) {
	peer := &sqmail.Peer{Session: "s1"}
	v := &joe{}
	e, _ := auth.Start(t.Context(), v, "PLAIN", "h", peer)
	e.Next([]byte("\x00joe\x00x"))
	if len(v.asked) != 1 || v.asked[0].Peer != peer || v.asked[0].Mechanism != "plain" {
		t.Errorf("asked %+v", v.asked)
	}
}

func TestChallengesDifferAndAreMessageIDs(t *testing.T) {
	form := regexp.MustCompile(`^<[0-9a-f]{32}\.[0-9]+@[!-;=?A-~]+>$`)
	seen := map[string]bool{}
	for _, host := range []string{"mx.example.com", "mx.example.com", "", "a b<c>@d\r\n", "\xff\x00é", strings.Repeat("x", 1000)} {
		c := auth.NewChallenge(host)
		if !form.MatchString(c) || seen[c] || len(c) > 320 {
			t.Errorf("host %q: %q", host, c)
		}
		seen[c] = true
	}
}

func FuzzExchange(f *testing.F) {
	f.Add("PLAIN", []byte("\x00joe\x00secret"), []byte(nil))
	f.Add("LOGIN", []byte("joe"), []byte("secret"))
	f.Add("CRAM-MD5", []byte(nil), []byte("joe "+specCRAM))
	f.Fuzz(func(t *testing.T, mechanism string, first, second []byte) {
		v := &joe{}
		e, err := auth.Start(t.Context(), v, mechanism, "h", nil)
		if err != nil {
			return
		}
		for _, response := range [][]byte{first, second, second} {
			if _, done, err := e.Next(response); err != nil && !done {
				t.Fatal("an error that does not end the exchange")
			}
		}
		if len(v.asked) > 1 {
			t.Fatalf("asked %d times", len(v.asked))
		}
		for _, c := range v.asked {
			if c.User == "" || len(c.User) > auth.MaxUser || len(c.Password) > auth.MaxPassword || strings.Contains(c.User+c.Password, "\x00") {
				t.Fatalf("asked about %+v", c)
			}
		}
	})
}
