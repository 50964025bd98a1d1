package pop3

import (
	"log/slog"

	"github.com/sqmail/sqmail/internal/serve"
)

// capa lists what the server can do, now (RFC 2449, 5).
func (x *session) capa(string) {
	x.say("+OK capabilities follow\r\nTOP\r\nUIDL\r\nPIPELINING\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n")
	if x.takesPasswords() {
		x.say("USER\r\nSASL PLAIN\r\n")
	}
	if x.timestamp != "" {
		x.say("APOP\r\n")
	}
	if x.drop == nil && x.offersSTLS() {
		x.say("STLS\r\n")
	}
	x.say(replyEndOfList)
}

func (x *session) offersSTLS() bool {
	return x.srv.TLSConfig != nil && x.srv.STLS != Off && x.peer.TLS == nil
}

// stls turns the connection into TLS (RFC 2595, 4). What was said before is
// forgotten, and nothing that came with the command is taken for encrypted.
func (x *session) stls(arg string) {
	switch {
	case !x.offersSTLS():
		x.wrong(replyNoSTLS)
		return
	case arg != "":
		x.wrong(replySyntax)
		return
	case x.conn.Reader().Buffered() > 0:
		x.event(slog.LevelWarn, "STLS refused", "err", serve.ErrPlaintext)
		x.conn.Linger()
		x.final(replyPlaintext)
		return
	}
	x.say(replyBeginTLS)
	if err := x.conn.StartTLS(nil); err != nil {
		x.event(slog.LevelInfo, "STLS failed", "err", err)
		x.over = true // there is nobody to tell
		return
	}
	x.user = ""
	x.setProtocol()
}
