package segstore

import (
	"errors"
	"syscall"

	"github.com/sqmail/sqmail"
)

var (
	replyFull   = sqmail.Reply{Code: 452, Enhanced: sqmail.EnhancedCode{4, 3, 1}, Text: "insufficient storage, try again later"}
	replyBroken = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 3, 0}, Text: "storage trouble, try again later"}
)

// storageError says what trouble with the disk means for a message: a
// deferral, always.
func storageError(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, done := errors.AsType[*sqmail.Error](err); done {
		return err
	}
	reply := replyBroken
	if full(err) {
		reply = replyFull
	}
	return &sqmail.Error{Op: op, Class: sqmail.Deferral, Reply: reply, Err: err}
}

// full reports whether an error says that there is no space.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

var errNoRecipient = &sqmail.Error{Op: "commit", Class: sqmail.Rejection, Reply: sqmail.Reply{
	Code: 554, Enhanced: sqmail.EnhancedCode{5, 5, 1}, Text: "no valid recipients"}}
