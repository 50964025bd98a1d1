//go:build !linux

package segstore

import (
	"context"
	"errors"
	"sync"
)

// watchDir cannot watch a directory here.
func watchDir(context.Context, *sync.WaitGroup, string, chan<- struct{}) (over <-chan struct{}, err error) {
	return nil, errors.ErrUnsupported
}
