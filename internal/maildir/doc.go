// Package maildir delivers into maildirs and reads them: one file per message,
// no locks, any number of writers and readers at once.
//
// A message is written to a file in tmp, made durable there, and appears in
// new under a name that nobody else uses, whole or not at all. When
// [Writer.Deliver] returns nil, data and directory entry are on stable storage
// and no loss of power takes them away.
//
// Readers see a [Dir]. A message keeps its unique id while it moves from new to
// cur and changes its flags there, and [Dir.Open] finds it again after another
// program has moved it. Only regular files are messages: links, directories
// and pipes are passed over, so that nobody can make a reader hang or read
// what is not mail.
//
// Messages are stored with LF as line end. The names that a Writer gives end
// in ",S=size,W=wire", the sizes of the message as it is stored and as it is
// sent with CRLF (the Maildir++ convention), so that a POP3 server need not
// read a message in order to tell its size.
package maildir
