// Package mailtest is a small internet for tests of mail: DNS zones, foreign
// mail servers with a script, a network in memory, and assertions on what was
// delivered. All of it lives in the test's process and runs inside a
// testing/synctest bubble, where a retry schedule of five days takes
// milliseconds.
//
// # Where to start
//
//   - [Network] connects by addresses such as 192.0.2.1:25 without a socket.
//     Give its DialContext to what dials and its Listen to what serves.
//   - [Zone] answers DNS lookups from a zone file written in the test. It has
//     the methods of net.Resolver, and can be served over UDP and TCP.
//   - [Peer] is a foreign SMTP or LMTP server. Unscripted it takes all mail;
//     [Peer.On] makes it defer the third recipient, hang, drop, be slow, or
//     fail its TLS handshake.
//   - [Recorder] is a sqmail.Receiver that keeps what it receives, to stand
//     behind the server under test. Its Wait needs no sleep and no polling.
//   - [AssertDelivered] says what must have arrived, exactly once.
//   - [CA] issues certificates that are valid in fake time too.
//
// Everything may be used by several goroutines at once. What a test starts
// with a testing.TB ends with that test.
package mailtest
