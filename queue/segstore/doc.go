// Package segstore keeps a queue in a directory.
//
// It keeps every promise of [queue.Store]: when Commit returns nil, message
// and envelope are on the disk; an outcome that was recorded is never undone;
// what is damaged is put aside and holds up nobody. The promises are tested by
// cutting power before and after every file operation of a store's life, and
// by failing each of them in turn.
//
// # How it works
//
// Messages are appended to segments, files of 8 MiB that are used again and
// again. Whoever commits while a sync is running shares the next one with all
// others who do, so that a hundred connections cost hardly more syncs than one.
// What becomes of a message is a small record in the same segments. Bodies of
// more than 256 KiB, and those that find no room in memory, are in files of
// their own.
//
// An index in memory takes about 80 octets for each message. From time to time,
// and at the end, it is written to a file. A store takes messages as soon as it
// knows which numbers were given, and loads the index beside that: with a
// million messages it is open after some 100 ms, and loaded after half a second
// with that file and after some seconds without. Messages that outlive most of their
// neighbours are moved together to other segments, so that the space of the
// others can be used again; a queue that has drained takes less than 64 MiB.
//
// A sync that has failed is never tried again, because the kernel may have
// forgotten what it was to save: the segment is given up, and what was not
// acknowledged is written to another one.
//
// A disk must keep what it says is synced, and must not change an octet that
// was synced when it writes other octets, not even in the same sector.
//
// docs/queue-format.md describes the files octet by octet.
//
// # Submitting without the store
//
// Only one process at a time has a store open. Others leave messages with
// [Submit].
package segstore
