// Package tcprules makes cdb files of rules for connections as tcprules does,
// and looks clients up in them, so that a site's rules.*.cdb can be read and
// written. Spec: smtpd.md, 11.
//
// (The daemon takes texts and databases alike, and reads them whole; see package
// control.)
package tcprules
