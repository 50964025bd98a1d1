// Package crashfs is a file system in memory that can lose power, run full
// and fail.
//
// It knows what has been synced. [FS.Crash] returns the file system that a
// machine could find after losing power now; a [Loss] says what becomes of
// what was not synced. [FS.Hook] is called before and after every operation
// that changes something, so that a test can crash at each of them, or make
// the n-th fail.
package crashfs
