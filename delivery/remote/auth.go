package remote

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// A mechanism answers the challenges of a server, one after the other
// (RFC 4954, 4).
type mechanism struct {
	name    string
	answers []answer
}

// An answer returns what is sent for a challenge; false: there is none.
type answer func(user, password, challenge string) (string, bool)

// mechanisms, the preferred ones first.
var mechanisms = []mechanism{
	{"CRAM-MD5", []answer{cramMD5}},
	{"PLAIN", []answer{plain}},
	{"LOGIN", []answer{loginUser, loginPassword}},
}

// plain is RFC 4616, with the authorization identity left to the server.
func plain(user, password, _ string) (string, bool) { return "\x00" + user + "\x00" + password, true }

func loginUser(user, _, _ string) (string, bool) { return user, true }

func loginPassword(_, password, _ string) (string, bool) { return password, true }

// cramMD5 is RFC 2195, 2.
func cramMD5(user, password, challenge string) (string, bool) {
	plain, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return "", false
	}
	mac := hmac.New(md5.New, []byte(password))
	mac.Write(plain)
	return user + " " + hex.EncodeToString(mac.Sum(nil)), true
}

// authenticate logs in if the relay has credentials (spec/remote.md 9). If the
// peer offers nothing that we know the session goes on without: the relay may
// know us by our address.
func (s *session) authenticate(ctx context.Context) *failure {
	if s.call.user == "" || s.call.password == "" {
		return nil
	}
	m, found := s.mechanism()
	log := s.agent.log().With("host", s.call.host, "addr", s.call.addr.String(), "user", s.call.user)
	if !found {
		log.WarnContext(ctx, "not authenticated: no mechanism in common", "offered", s.ext.auth, "tls", s.secure)
		return nil
	}
	if !s.secure && m.name != "CRAM-MD5" {
		log.WarnContext(ctx, "password goes over the wire in the clear", "mechanism", m.name)
	}
	r, err := s.command("AUTH " + m.name)
	stage := "AUTH " + m.name
	for _, answer := range m.answers {
		if err != nil || r.code != 334 {
			break
		}
		plain, ok := answer(s.call.user, s.call.password, text(r))
		if !ok {
			return s.died(errMalformed)
		}
		stage = m.name
		r, err = s.command(base64.StdEncoding.EncodeToString([]byte(plain)))
	}
	switch {
	case err != nil:
		return s.died(err)
	case r.code == 235:
		s.user = s.call.user
		return nil
	}
	return s.authRefused(r, stage, m.name)
}

// mechanism chooses among what is offered.
func (s *session) mechanism() (mechanism, bool) {
	if s.agent.RefuseClearAuth && !s.secure {
		return mechanism{}, false
	}
	for _, m := range mechanisms {
		if slices.ContainsFunc(s.ext.auth, func(offered string) bool { return strings.EqualFold(offered, m.name) }) {
			return m, true
		}
	}
	return mechanism{}, false
}

// authRefused is never final, but for a password that the peer calls expired.
func (s *session) authRefused(r reply, stage, name string) *failure {
	switch r.code {
	case 432:
		f := rejection(s.connected("password expired"))
		f.reply = r
		return f
	case 534:
		f := deferral(s.connected("authentication mechanism too weak (" + name + ")"))
		f.reply = r
		return f
	}
	f := deferral(s.connected("authentication was rejected (" + stage + ")"))
	f.reply = r
	return f
}

// text returns the text of a one-line reply.
func text(r reply) string {
	for line := range r.lines {
		return line
	}
	return ""
}
