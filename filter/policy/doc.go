// Package policy asks servers of the Postfix policy delegation protocol, such
// as postgrey, about mail. Spec: filter.md, 8.
//
// A [Client] asks one server over connections that it keeps. [Postgrey] is the
// filter for a server that greylists: if it cannot be asked, mail is let in.
package policy
