//go:build !linux

package segstore

import (
	"errors"
	"sync"
)

// watchDir cannot watch a directory here.
func watchDir(*sync.WaitGroup, string, chan<- struct{}) (over <-chan struct{}, stop func(), err error) {
	return nil, nil, errors.ErrUnsupported
}
