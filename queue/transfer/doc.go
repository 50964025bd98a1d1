// Package transfer brings messages from one queue to another, each of them
// once, whatever fails on the way.
//
// A [Writer] writes messages with their envelopes, journals and due times to a
// stream; [Read] yields them again. An [Importer] puts what a stream, or another
// source, yields into a queue. It keeps a [Ledger] of what it has taken, so
// that the same stream can be read again: after an error, after a power cut,
// or by mistake.
//
// For that it commits each message in the state of queue.Store.Hold, enters it
// in the Ledger, and only then releases it. Where it is cut off, the next run
// finds messages that are held and not in the Ledger, and goes on with those:
// no message is delivered before the Ledger knows it.
package transfer
