//go:build !linux

package spoolfs

import "errors"

type syscalls func()

// background is what these systems do not have.
type background struct{}

func newBackground(syscalls) (*background, error) { return nil, errors.ErrUnsupported }

func (*background) datasync(diskFile) (began bool, err error) { return false, nil }

func (*background) close() {}
