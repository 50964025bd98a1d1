package program

import "github.com/sqmail/sqmail"

// Exit codes of qmail-queue that we come to ourselves.
const (
	exitTooLong   = 11
	exitTimeout   = 52
	exitWrite     = 53
	exitRead      = 54
	exitTemporary = 71
	exitNoExec    = 120
	exitCrash     = -1
)

// opFor says for the log what a program that stands in for the queue has found.
func opFor(code int) string {
	switch code {
	case 32:
		return "queue virus"
	case 33:
		return "queue spam"
	case 34:
		return "queue attachment"
	}
	return "queue"
}

// replyFor returns what an exit code means to the client: 11 to 40 are
// permanent, all others are not. Spec: queue.md, 1.1, and filter.md, 13. (In
// the original 32, 33 and 34 are permanent to some callers only.)
func replyFor(code int) sqmail.Reply {
	switch {
	case code == exitTooLong || code == 115:
		return permanent(1, 3, "envelope address too long for qq")
	case code == 31:
		return permanent(3, 0, "mail server permanently rejected message")
	case code >= 32 && code <= 34:
		return permanent(3, 2, "mail server does not accept message")
	case code > exitTooLong && code <= 40:
		return permanent(3, 0, "qq permanent problem")
	}
	return temporary(code)
}

func permanent(subject, detail int, text string) sqmail.Reply {
	return sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, subject, detail}, Text: text}
}

func temporary(code int) sqmail.Reply {
	subject, detail, text := 3, 0, "qq temporary problem"
	switch code {
	case 51:
		text = "qq out of memory"
	case exitTimeout:
		text = "qq timeout"
	case exitWrite:
		text = "qq write error or disk full"
	case exitRead:
		text = "qq read error"
	case 55:
		text = "qq unable to read configuration"
	case 56:
		text = "qq trouble making network connection"
	case 61:
		text = "qq trouble in home directory"
	case 62, 63, 64, 65, 66:
		text = "qq trouble creating files in queue"
	case exitTemporary:
		text = "mail server temporarily rejected message"
	case 72:
		subject, detail, text = 4, 1, "connection to mail server timed out"
	case 73:
		subject, detail, text = 4, 1, "connection to mail server rejected"
	case 74:
		subject, detail, text = 4, 2, "communication with mail server failed"
	case 81, 91:
		text = "qq internal bug"
	case exitNoExec:
		text = "unable to exec qq"
	case exitCrash:
		text = "qq crashed"
	}
	return sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, subject, detail}, Text: text}
}
