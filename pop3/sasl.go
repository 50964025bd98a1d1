package pop3

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/sqmail/sqmail/auth"
)

// authCommand is AUTH (RFC 5034): the mechanism, and perhaps an initial
// response, "=" being an empty one.
func (x *session) authCommand(arg string) {
	mechanism, initial, given := strings.Cut(arg, " ")
	if !strings.EqualFold(mechanism, "PLAIN") {
		x.wrong(replyMechanism)
		return
	}
	if !x.mayLogin(true) {
		return
	}
	var response []byte
	if given {
		var err error
		if response, err = decodeResponse(strings.TrimLeft(initial, " ")); err != nil {
			x.wrong(replyMalformed)
			return
		}
	}
	x.exchange(mechanism, response)
}

// exchange leads an authentication exchange to its end. nil is no initial
// response.
func (x *session) exchange(mechanism string, response []byte) {
	v := x.srv.Verifier
	if v == nil {
		x.settle(auth.MechanismPlain, "", auth.Identity{}, errNoVerifier)
		return
	}
	e, err := auth.Start(x.ctx, v, mechanism, x.srv.HostName, x.peer)
	if err != nil {
		x.wrong(replyMechanism)
		return
	}
	for {
		challenge, done, err := e.Next(response)
		switch {
		case errors.Is(err, auth.ErrMalformed):
			x.wrong(replyMalformed)
			return
		case err != nil || done:
			x.settle(auth.MechanismPlain, e.User(), e.Identity(), err)
			return
		}
		var ok bool
		if response, ok = x.ask(challenge); !ok {
			return
		}
	}
}

// ask sends a challenge and reads the response. It has answered if there is
// none.
func (x *session) ask(challenge []byte) (response []byte, ok bool) {
	x.say("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n")
	line, err := x.conn.ReadLine(maxResponse)
	if err != nil {
		x.lineError(err)
		return nil, false
	}
	if string(line) == "*" { // RFC 5034, 4
		x.wrong(replyCancelled)
		return nil, false
	}
	if response, err = base64.StdEncoding.Strict().DecodeString(string(line)); err != nil {
		x.wrong(replyMalformed)
		return nil, false
	}
	return response, true
}

func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err == nil && len(b) == 0 {
		err = auth.ErrMalformed
	}
	return b, err
}
