// Package local delivers to the mailboxes of this host, as each user's
// dot-qmail files say: into maildirs and mboxes, to programs, and forward to
// other addresses.
//
// An [Agent] asks its [Users] who controls the recipient, looks for that
// user's .qmail file (.qmail-ext for an address with an extension), and carries
// out its instructions in order; forwards are sent together at the end. Without
// a file a user's mail goes where [Agent.Default] says, by default ./Maildir/.
//
// # Promises
//
//   - Delivered means durable: file and directory entry are on stable storage,
//     or the [sqmail.Receiver] has taken the forward.
//   - A file that holds a mistake delivers nothing: it is checked whole before
//     its first instruction is carried out, and the mail is deferred.
//   - When an instruction fails, those before it are not undone, and those
//     behind it are not carried out. If the failure is a deferral, the next
//     attempt goes on behind those that are done as long as the Agent lives; after a
//     restart they are carried out again. Better twice than never.
//   - Mail that comes back to a recipient it had already, or that has had a hundred
//     hops, bounces.
//   - Programs run only if [Agent.Programs] is set, in a process group of their
//     own, for a limited time, with bounded output.
//
// Everything runs under the user id of the process; the package changes no ids.
// That should not be root: it delivers only to homes that are root's own.
package local
