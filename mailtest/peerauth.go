package mailtest

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// auth is RFC 4954 with three mechanisms.
func (s *session) auth(_, arg string) error {
	mechanism, initial, _ := strings.Cut(arg, " ")
	mechanism = strings.ToUpper(mechanism)
	if s.peer.Users == nil {
		return s.say("502 5.5.1 no AUTH here")
	}
	if !s.greeted || s.inMail || s.who.User != "" {
		return s.say("503 5.5.1 not now")
	}
	user, good, err := s.credentials(mechanism, initial)
	if err != nil {
		return err
	}
	d := s.event(Auth, mechanism)
	if err := s.suffer(d); err != nil {
		return err
	}
	usual := "235 2.7.0 ok"
	switch {
	case user == "" && mechanism != "PLAIN" && mechanism != "LOGIN" && mechanism != "CRAM-MD5":
		usual = "504 5.5.4 unknown mechanism"
	case !good:
		usual = "535 5.7.8 no"
	}
	ok, err := s.answer(d, usual)
	if ok {
		s.who.User, s.who.Mechanism = user, strings.ToLower(mechanism)
		s.who.Protocol = s.protocol("EHLO")
	}
	return err
}

// credentials runs a mechanism and says who it is, and whether that is true.
func (s *session) credentials(mechanism, initial string) (user string, good bool, err error) {
	switch mechanism {
	case "PLAIN":
		if initial == "" {
			if initial, err = s.challenge(""); err != nil {
				return "", false, err
			}
		}
		return s.plain(unbase64(initial))
	case "LOGIN":
		if initial == "" {
			if initial, err = s.challenge("Username:"); err != nil {
				return "", false, err
			}
		}
		password, err := s.challenge("Password:")
		user = unbase64(initial)
		return user, s.knows(user, unbase64(password)), err
	case "CRAM-MD5":
		const challenge = "<1.1@peer.test>"
		response, err := s.challenge(challenge)
		user, digest, _ := strings.Cut(unbase64(response), " ")
		mac := hmac.New(md5.New, []byte(s.peer.Users[user]))
		mac.Write([]byte(challenge))
		_, known := s.peer.Users[user]
		return user, known && digest == hex.EncodeToString(mac.Sum(nil)), err
	}
	return "", false, nil
}

func (s *session) plain(response string) (user string, good bool, err error) {
	parts := strings.Split(response, "\x00")
	if len(parts) != 3 {
		return "", false, nil
	}
	return parts[1], s.knows(parts[1], parts[2]), nil
}

func (s *session) knows(user, password string) bool {
	want, known := s.peer.Users[user]
	return known && want == password
}

// challenge sends a challenge and reads the response, both in base64.
func (s *session) challenge(text string) (string, error) {
	s.say("334 " + base64.StdEncoding.EncodeToString([]byte(text)))
	if err := s.w.Flush(); err != nil {
		return "", err
	}
	response, err := s.readLine()
	s.peer.log(s.number, "C:", "(response)")
	return strings.TrimSuffix(response, "\r\n"), err
}

// unbase64 returns "" for what is none, which nobody is called.
func unbase64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return ""
	}
	return string(b)
}
