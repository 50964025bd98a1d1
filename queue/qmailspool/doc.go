// Package qmailspool reads the queue directory of qmail, notqmail or s/qmail,
// and changes nothing in it: what is found can be put into another queue, with
// everything that has happened to it.
//
// [Open] takes the lock that qmail-send holds as long as it runs, so that
// nobody delivers what is being read. [Spool.Messages] yields every message
// that qmail has accepted and not finished (states S4 and S5 of
// docs/migration.md), each with its recipients, those that are done included,
// and with the reports of those that failed; [Message.Submission] makes of it
// what a queue.Store takes. An entry that is damaged is an error of its own,
// and the others follow.
//
// All directories may be split (mess/N/ID) or flat (mess/ID), in any mixture;
// the number of splits is not looked at.
package qmailspool
