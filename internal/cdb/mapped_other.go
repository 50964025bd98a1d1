//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package cdb

import (
	"errors"
	"os"
)

func mapFile(*os.File, int64) (mapped, error) { return nil, errors.ErrUnsupported }

func (m mapped) unmap() error { return nil }
