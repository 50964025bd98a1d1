// Package compile makes databases of the texts that administrators write: what
// qmail-newmrh, qmail-recipients, qmail-badmimetypes, qmail-badloadertypes and
// qmail-mfrules do.
//
// Each function reads a text and puts its records, in the order of the lines,
// where the filters of package filter look them up: a cdb file for instance,
// or a map. Lines that are empty or begin with "#" are skipped, and so are
// blanks at the end of a line.
//
// # Errors
//
// A line that has no meaning is a [*filter.LineError]; a function goes on to
// find more of them, and returns all, joined. Records of sound lines have been
// put then: whoever writes a file keeps the old one. An error of reading or of
// put ends the work at once.
package compile
