package pop3

import (
	"context"
	"io"
)

// Maildrop is a user's mail during one session. Its messages have the numbers
// 0 to Len()-1, one less than the client's; they are fixed when it is
// opened. One goroutine uses it.
//
// An error is temporary unless its chain holds an [sqmail.Error] of class
// Rejection; the client hears -ERR and a fixed sentence either way. ctx ends
// when the server is closed or the connection fails.
type Maildrop interface {
	// Len returns the number of messages.
	Len() int

	// UniqueID returns what names a message for ever, also in other sessions:
	// 1 to 70 characters from 0x21 to 0x7E (RFC 1939, 7).
	UniqueID(n int) string

	// Size returns a message's size in octets with CRLF line ends. It is
	// asked again and again, and should remember. A message whose size cannot
	// be told counts as 0.
	Size(ctx context.Context, n int) (int64, error)

	// Open opens a message; its lines end in LF or CRLF. A message that
	// others have removed should stay readable; if it cannot, the error is
	// fs.ErrNotExist.
	Open(ctx context.Context, n int) (io.ReadCloser, error)

	// Update is called at QUIT, and only then. It removes the messages for
	// which deleted is true, and notes that the user has seen the others. It
	// returns nil when the former are gone, durably; one that was gone before
	// is no error. After an error the others are removed all the same.
	Update(ctx context.Context, deleted []bool) error

	// Close frees what the maildrop holds. It is always called.
	Close() error
}
