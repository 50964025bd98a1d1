package pop3

// What the client hears. Codes in brackets are those of RFC 2449, 8 and RFC
// 3206; the sentences are fixed.
const (
	replyTooMany    = "-ERR [SYS/TEMP] too many connections, try again later\r\n"
	replyNotForYou  = "-ERR [SYS/PERM] no service for you here\r\n"
	replyNotNow     = "-ERR [SYS/TEMP] no service now, try again later\r\n"
	replyIdle       = "-ERR idle for too long\r\n"
	replyShutdown   = "-ERR [SYS/TEMP] server is shutting down\r\n"
	replyBareLF     = "-ERR lines end in CRLF\r\n"
	replyTooLong    = "-ERR line too long\r\n"
	replyCharacters = "-ERR CR or NUL within a line\r\n"
	replyTooManyBad = "-ERR too many bad commands\r\n"

	replyOK        = "+OK \r\n"
	replyBye       = "+OK bye\r\n"
	replyUnknown   = "-ERR unknown command\r\n"
	replyLoginOnly = "-ERR log in first\r\n"
	replyLoggedIn  = "-ERR you are logged in\r\n"
	replySyntax    = "-ERR syntax error\r\n"

	replyNoSTLS    = "-ERR STLS is not available\r\n"
	replyPlaintext = "-ERR nothing may follow STLS before TLS is active\r\n"
	replyBeginTLS  = "+OK begin TLS negotiation\r\n"
	replyNeedTLS   = "-ERR STLS first\r\n"

	replyNoAPOP      = "-ERR APOP is not available\r\n"
	replyNoPassword  = "-ERR passwords are not accepted, use APOP\r\n"
	replyNoCleartext = "-ERR passwords are accepted under TLS only\r\n"
	replyNoUser      = "-ERR USER first\r\n"
	replyMechanism   = "-ERR mechanism is not available\r\n"
	replyCancelled   = "-ERR authentication cancelled\r\n"
	replyMalformed   = "-ERR malformed response\r\n"
	replyRejected    = "-ERR [AUTH] authentication failed\r\n"
	replyUndecided   = "-ERR [SYS/TEMP] cannot authenticate now, try again later\r\n"
	replyNoDrop      = "-ERR [SYS/TEMP] cannot open the maildrop now, try again later\r\n"
	replyNeverDrop   = "-ERR [SYS/PERM] there is no maildrop\r\n"

	replyNoMessage   = "-ERR no such message\r\n"
	replyFromOne     = "-ERR messages are counted from 1\r\n"
	replyDeleted     = "-ERR message is deleted\r\n"
	replyGone        = "-ERR message has been removed by another program\r\n"
	replyUnreadable  = "-ERR [SYS/TEMP] cannot read the message now\r\n"
	replyNotNumber   = "-ERR not a message number\r\n"
	replyMessage     = "+OK message follows\r\n"
	replyList        = "+OK list follows\r\n"
	replyMarked      = "+OK deleted\r\n"
	replyNotRemoved  = "-ERR [SYS/TEMP] some deleted messages were not removed\r\n"
	replyEndOfList   = ".\r\n"
	replyTopNotCount = "-ERR not a number of lines\r\n"
)
