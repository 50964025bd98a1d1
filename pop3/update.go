package pop3

import (
	"log/slog"
	"strconv"
)

func (x *session) dele(arg string) {
	if n, ok := x.message(arg); ok {
		x.deleted[n] = true
		x.highest = max(x.highest, n+1)
		x.say(replyMarked)
	}
}

// last tells the highest number deleted (RFC 1460; POP2's heritage, of which
// RETR is no part here).
func (x *session) last(string) { x.say("+OK " + strconv.Itoa(x.highest) + "\r\n") }

func (x *session) rset(string) {
	clear(x.deleted)
	x.highest = 0
	x.say(replyOK)
}

// quit ends the session with one reply. After a login this is the UPDATE state
// (RFC 1939, 6): now, and only now, messages are removed.
func (x *session) quit(string) {
	if x.drop == nil {
		x.final(replyBye)
		return
	}
	if err := x.drop.Update(x.ctx, x.deleted); err != nil {
		x.event(slog.LevelError, "messages not removed", "err", err)
		x.final(replyNotRemoved)
		return
	}
	x.final(replyBye)
}
