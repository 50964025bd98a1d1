package program

import (
	"errors"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

var addressTooLong = &sqmail.Error{
	Op: "queue", Class: sqmail.Rejection, Reply: replyFor(exitTooLong),
	Err: errors.New("an address is too long for qmail-queue, or has a NUL in it"),
}

// appendEnvelope appends F sender NUL, T recipient NUL …, NUL.
func appendEnvelope(dst []byte, env *sqmail.Envelope) ([]byte, error) {
	add := func(letter byte, path sqmail.Path) bool {
		address := path.Unquoted()
		dst = append(append(append(dst, letter), address...), 0)
		return len(address) <= maxAddress && strings.IndexByte(address, 0) < 0
	}
	if !add('F', env.ReversePath) {
		return nil, addressTooLong
	}
	for _, to := range env.Recipients {
		if !add('T', to.Path) {
			return nil, addressTooLong
		}
	}
	return append(dst, 0), nil
}

// Variables returns what a queue program is told of a message besides the
// protocol: MAILFROM, and RCPTTO, all recipients, each followed by a blank (as
// many as fit; a variable of over 128 KiB cannot be passed on); and of a peer
// TCPREMOTEIP, TCPREMOTEPORT, TCPREMOTEHOST, TCPLOCALIP, TCPLOCALPORT and
// HELOHOST, of one that has authenticated AUTHUSER, AUTHPROTOCOL,
// TCPREMOTEINFO and an empty RELAYCLIENT, with TLS SSL_PROTOCOL, SSL_CIPHER,
// SSL_CIPHER_ALGKEYSIZE and SSL_CIPHER_USEKEYSIZE, with a certificate that is
// verified SSL_CLIENT_S_DN, SSL_CLIENT_S_DN_CN and SSL_CLIENT_S_DN_Email, and
// SPFRESULT, as far as they are known.
func Variables(env *sqmail.Envelope) []string {
	vars := []string{"MAILFROM=" + env.ReversePath.Unquoted(), "RCPTTO=" + rcptTo(env)}
	add := func(name, value string) {
		if value != "" && strings.IndexByte(value, 0) < 0 {
			vars = append(vars, name+"="+value)
		}
	}
	peer := env.Peer
	if peer == nil {
		return vars
	}
	if peer.Remote.IsValid() {
		add("TCPREMOTEIP", peer.Remote.Addr().String())
		add("TCPREMOTEPORT", strconv.Itoa(int(peer.Remote.Port())))
	}
	if peer.Local.IsValid() {
		add("TCPLOCALIP", peer.Local.Addr().String())
		add("TCPLOCALPORT", strconv.Itoa(int(peer.Local.Port())))
	}
	add("TCPREMOTEHOST", peer.Name)
	add("HELOHOST", peer.Hello)
	add("AUTHUSER", peer.User)
	add("TCPREMOTEINFO", peer.User)
	add("AUTHPROTOCOL", peer.Mechanism)
	add("SPFRESULT", spfResult(env))
	if peer.User != "" {
		vars = append(vars, "RELAYCLIENT=")
	}
	if peer.TLS != nil {
		tlsVariables(peer.TLS, add)
	}
	return vars
}

// spfResult is the result of the SPF check, in the words of qmail-smtpd.
func spfResult(env *sqmail.Envelope) (result string) {
	for _, v := range env.Verdicts {
		if v.Filter == "spf" && v.Rule != "" {
			result = v.Rule
		}
	}
	switch result {
	case "temperror":
		return "error"
	case "permerror":
		return "unknown"
	}
	return result
}

func rcptTo(env *sqmail.Envelope) string {
	const most = 100 << 10
	var b strings.Builder
	for _, to := range env.Recipients {
		address := to.Path.Unquoted()
		if b.Len()+len(address) >= most {
			break
		}
		b.WriteString(address)
		b.WriteByte(' ')
	}
	return b.String()
}
