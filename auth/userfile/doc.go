// Package userfile keeps users in a text file, a line for each:
//
//	# name:home:secret
//	joe::$2b$10$…             home/joe below the root directory
//	ann:/home/ann:$6$…        a home of her own
//	sue::=open sesame         the password itself, for CRAM-MD5 and APOP
//	max::!$2b$10$…            locked: has mail, cannot log in
//
// A secret is a hash of crypt(3), of the kinds $2a$, $2b$, $2y$, $5$, $6$ and
// $y$, or the password itself behind "=". "!" in front locks the account; so
// does an empty secret. Names are in lower case. Lines that are empty or begin
// with "#" are left alone.
//
// A [File] follows the file as it changes; a [Verifier] answers servers from
// it. Changing it ([File.Add], [File.SetSecret], [File.Remove]) replaces it as a
// whole: a reader sees it as it was or as it is, also after a power cut.
//
// # Promises
//
//   - A file that cannot be read, or is broken, never looks like a file without
//     users: what was read before stays in force, and the log hears file and
//     line. If there was nothing before, the error is temporary.
//   - Whether a name exists does not show in the time that a wrong password takes.
//   - At most so many passwords are checked at a time as the Verifier says;
//     one check of a hash that Hash made takes a processor for some 60 ms.
package userfile
