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
// # A test in fake time
//
//	func TestBounce(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			network := new(mailtest.Network)
//			zone := mailtest.NewZone(t, "b.test MX 10 mx.b.test\n mx.b.test A 192.0.2.1")
//			peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
//			peer.On(mailtest.Rcpt).Reply(451, "4.2.2", "mailbox full")
//			q := start(t, &remote.Agent{Dialer: network, Resolver: zone}) // yours
//			t.Cleanup(func() { q.Shutdown(context.Background()) })
//			…
//			time.Sleep(5 * 24 * time.Hour)
//			…
//		})
//	}
//
// Whatever is started in a bubble must end in it: stop servers, queues and
// agents in a t.Cleanup, so that a test that fails says why, and not that
// goroutines are left over. A test that fails shows what was said to its
// Peers ([Peer.Transcript]). Examples/embed has such a test, and TestFiveDays
// of this package uses the whole kit.
//
// Everything may be used by several goroutines at once. What a test starts
// with a testing.TB ends with that test.
package mailtest
