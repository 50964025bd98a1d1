package smtpd

import "github.com/sqmail/sqmail"

// The fixed sentences. What a code means at its place is in RFC 5321, 4.3.2
// and in the RFC of each extension.
var (
	replyReversePath = say(250, 2, 1, 0, "ok")
	replyRecipient   = say(250, 2, 1, 5, "ok")
	replyReset       = say(250, 2, 0, 0, "flushed")
	replyNoop        = say(250, 2, 0, 0, "ok")
	replyChunk       = say(250, 2, 0, 0, "go on")
	replyVerify      = say(252, 2, 5, 2, "cannot verify, but send it and I will try")
	replyHelp        = say(214, 2, 0, 0, "see RFC 5321\nhttps://github.com/sqmail/sqmail")
	replyData        = sqmail.Reply{Code: 354, Text: "go ahead"}

	replyUnknown     = say(500, 5, 5, 1, "unknown command")
	replyNotOffered  = say(502, 5, 5, 1, "command not offered")
	replyLineTooLong = say(500, 5, 5, 2, "line too long")
	replyCharacters  = say(500, 5, 5, 2, "control characters in command")
	replyBareLine    = say(500, 5, 5, 2, "lines end with CRLF here")
	replyArgument    = say(501, 5, 5, 4, "syntax error in argument")
	replyNoArgument  = say(501, 5, 5, 4, "no argument allowed")
	replyValue       = say(501, 5, 5, 4, "syntax error in parameter")
	replyParameter   = say(555, 5, 5, 4, "parameter not offered")
	replySenderPath  = say(501, 5, 1, 7, "syntax error in reverse-path")
	replyForwardPath = say(501, 5, 1, 3, "syntax error in forward-path")
	replyUTF8Path    = say(553, 5, 6, 7, "path needs SMTPUTF8")

	replyHelloFirst    = say(503, 5, 5, 1, "EHLO first")
	replyMailFirst     = say(503, 5, 5, 1, "MAIL first")
	replyRecipients    = say(503, 5, 5, 1, "RCPT first")
	replyNoRecipient   = say(554, 5, 5, 1, "no valid recipients")
	replyInTransaction = say(503, 5, 5, 1, "not within a transaction")
	replyChunking      = say(503, 5, 5, 1, "message began with BDAT: BDAT or RSET")
	replyTooMuch       = say(452, 4, 5, 3, "too many recipients")
	replyTooBig        = say(552, 5, 3, 4, "message too big")
	replyLoop          = say(554, 5, 4, 6, "too many hops, this message is looping")
	replyBareLF        = say(550, 5, 6, 11, "bare LF or CR in message, see RFC 5321, 2.3.8")
	replyNoRelay       = say(550, 5, 7, 1, "relaying denied")
	replyNoReceiver    = say(451, 4, 3, 0, "no mail is taken here now")

	replyXClient = say(550, 5, 7, 1, "XCLIENT is not for you")

	replyTLSFirst = say(530, 5, 7, 0, "STARTTLS first")
	replyTLSReady = say(220, 2, 0, 0, "ready for TLS")
	replyTLSOn    = say(503, 5, 5, 1, "TLS is on")

	replyAuthFirst     = say(530, 5, 7, 0, "authentication required")
	replyAuthOn        = say(503, 5, 5, 1, "already authenticated")
	replyAuthOff       = say(503, 5, 5, 1, "authentication not offered")
	replyAuthClear     = say(538, 5, 7, 11, "this mechanism needs TLS")
	replyMechanism     = say(504, 5, 5, 4, "unknown mechanism")
	replyAuthCancelled = say(501, 5, 0, 0, "authentication cancelled")
	replyAuthSyntax    = say(501, 5, 5, 2, "malformed response")
	replyAuthLong      = say(500, 5, 5, 6, "response too long")
	replyAuthOK        = say(235, 2, 7, 0, "authenticated")
	replyAuthFailed    = say(535, 5, 7, 8, "authentication failed")
	replyAuthDeferred  = say(454, 4, 7, 0, "authentication not possible now")

	replyBye          = say(221, 2, 0, 0, "bye")
	replyIdle         = say(421, 4, 4, 2, "idle for too long")
	replyShutdown     = say(421, 4, 3, 2, "closing for a while")
	replyBug          = say(421, 4, 3, 0, "internal error")
	replyBadCommands  = say(421, 4, 7, 0, "too many bad commands")
	replyAuthFailures = say(421, 4, 7, 0, "too many failed authentications")
	replyTransactions = say(421, 4, 5, 3, "enough messages for one session")
	replyTooMany      = say(421, 4, 7, 0, "too many connections")
	replyEarly        = say(554, 5, 5, 1, "you spoke before the greeting")
)

func say(code, class, subject, detail int, text string) sqmail.Reply {
	return sqmail.Reply{Code: code, Enhanced: sqmail.EnhancedCode{class, subject, detail}, Text: text}
}
