// Package program asks programs about messages, by the two interfaces that
// qmail has for it.
//
// [Scanner] is a filter that runs a virus scanner on the stored message
// (QHPSI). [Queue] is a sqmail.Receiver that hands message and envelope to a
// program that speaks qmail-queue's protocol (QMAILQUEUE): qmail-queue itself,
// a wrapper around it, qmail-qmqpc. Either works alone.
//
// # Promises
//
//   - What is not known to be good is a deferral: a program that cannot be
//     started, crashes, is killed, takes too long, or ends with a code that
//     nobody gave a meaning.
//   - A message that is broken off, or that a filter refuses, never reaches
//     a Queue's program: it is put by in a file, and handed over when it is
//     complete. No program's exit code can make a success of it.
//   - Programs run in a process group of their own, which is ended when they
//     take too long or the context ends; files are
//     removed on all paths.
//   - Programs inherit nothing from this process but what Env says.
package program
