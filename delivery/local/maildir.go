package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
)

// toMaildir puts the message into a maildir.
func (j *job) toMaildir(ctx context.Context, dir string) error {
	message := io.MultiReader(strings.NewReader(j.returnPath()+j.deliveredTo()), j.body())
	name, err := j.agent.maildirs.Deliver(ctx, dir, message)
	if err != nil {
		return maildirFailure(err)
	}
	j.wrote(filepath.Join(dir, name))
	return nil
}

func maildirFailure(err error) error {
	text := "Temporary error on maildir delivery. (#4.3.0)"
	_, source := errors.AsType[sourceError](err)
	switch {
	case source:
		text = "Unable to read message. (#4.3.0)"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		text = "Timeout on maildir delivery. (#4.3.0)"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ENOTDIR):
		text = "Unable to chdir to maildir. (#4.2.1)"
	}
	return fail(err, "%s", text)
}
