//go:build !linux

package spoolfs

import "errors"

// background is what these systems do not have.
type background struct{}

func newBackground() (*background, error) { return nil, errors.ErrUnsupported }

func (*background) datasync(diskFile) (began bool, err error) { return false, nil }

func (*background) close() {}
