// Package smtpdtest runs SMTP servers in tests.
//
// [NewServer] starts a server on a loopback address and ends it with the test,
// [Serve] does so with a server of yours.
// [Server.Dial] speaks to it command by command, [Server.Talk] plays a
// dialogue that is written as text. A [Recorder] keeps what a server takes.
package smtpdtest
