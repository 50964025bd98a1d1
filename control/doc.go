// Package control reads the home directory of a mail system with the layout of
// qmail, checks it, and turns it into values for the other packages.
//
// [Load] reads everything at once and returns a [Config], which does not change;
// [Watcher] follows the files as they change. [Check] tells all that is wrong or
// doubtful about a home, [Init] makes one.
//
// # Promises
//
//   - A configuration is read whole, checked whole, and swapped whole. A broken
//     edit changes nothing; the error names every file and line that is wrong.
//   - A file that is there and cannot be read, or is no file, is an error. It is
//     never taken for its default.
//   - Whatever rcpthosts is, missing, empty or broken, we relay for nobody that
//     is not told to be a relay client.
//   - Each [Entry] and [Rule] keeps its file and line, so that decisions can be
//     explained.
//   - Text is what counts. Where it is absent the .cdb file that qmail's tools
//     make of it is read: of lists, rules and users/assign. One that is not whole
//     is an error; one that is used stays open until [Config.Close].
//   - What it costs to read a home is bounded, whatever is in its files.
//
// # Files
//
// Below the home: control/* (see [Config]), control/services and the rules files
// that it names (see [Service]), users/accounts (package auth/userfile) and
// users/assign, alias for the alias user, home for the users that [Users.Add]
// makes, ssl for certificates, queue.
package control
