package segstore

import "github.com/sqmail/sqmail/internal/spoolfs"

// Small returns options for a store on fs whose segments, bodies and
// checkpoints are small enough that a few messages fill them.
func Small(fs spoolfs.FS) *Options {
	return &Options{fs: fs, segmentSize: 64 << 10, bodyMax: 8 << 10, logMax: 128 << 10}
}
