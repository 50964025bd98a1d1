package gosmtp

import (
	"errors"

	"github.com/emersion/go-smtp"

	"github.com/sqmail/sqmail"
)

// refusal is what an error of the backend means. What is not an SMTPError
// stays as it is, which for a server is a deferral.
func refusal(op string, err error) error {
	e, ok := errors.AsType[*smtp.SMTPError](err)
	if !ok || e == nil {
		return err
	}
	r := sqmail.Reply{Code: e.Code, Enhanced: sqmail.EnhancedCode(e.EnhancedCode), Text: e.Message}
	if e.EnhancedCode == smtp.NoEnhancedCode {
		r.Enhanced = sqmail.EnhancedCode{}
	}
	switch e.Code / 100 {
	case 2:
		return nil
	case 4, 5:
		return &sqmail.Error{Op: op, Class: r.Class(), Reply: r, Err: err}
	}
	return err
}

// accepted is what Data's answer means.
func accepted(op string, err error) (sqmail.Receipt, error) {
	if e, ok := errors.AsType[*smtp.SMTPError](err); ok && e != nil && e.Code/100 == 2 {
		return sqmail.Receipt{ID: e.Message}, nil
	}
	return sqmail.Receipt{}, refusal(op, err)
}
