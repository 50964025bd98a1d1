// Package queuetest checks that a [queue.Store] keeps its contract, sentence
// by sentence. An implementer calls [Run], and [RunDurable] if the store is
// to survive its process:
//
//	func TestContract(t *testing.T) {
//		queuetest.Run(t, func(t *testing.T) queue.Store { return mystore.New() })
//	}
//
// Every rule is a subtest of its own in a testing/synctest bubble, with a
// fresh store in it, so that hours of virtual time take no time. The store's
// timers and goroutines must therefore end with Close.
package queuetest
