//go:build unix

package meter

import (
	"syscall"
	"time"
)

// cpu returns the time that all threads of the process have run.
func cpu() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
