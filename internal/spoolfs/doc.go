// Package spoolfs is the little that a spool asks of a file system, as a
// contract: so that a test can put one in its place that loses power at every
// step (package crashfs).
//
// The contract is that of POSIX and of Linux's behaviour where POSIX is
// silent, seen by a pessimist:
//
//   - what was written is durable when Datasync returns nil, not before; until
//     then any part of it, in any order, may have reached the disk;
//   - a name is durable when SyncDir on its directory returns nil;
//   - when a sync fails, what it was to save may be lost although it can still
//     be read, and a later sync that succeeds does not save it.
package spoolfs
