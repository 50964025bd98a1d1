//go:build !unix

package qmailspool

import (
	"errors"
	"os"
)

func openRegular(path string) (*os.File, error) { return os.Open(path) }

func lock(*os.File) error { return errors.New("qmailspool: there is no qmail on this system") }
