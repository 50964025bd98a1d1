// Package memstore keeps a queue in memory: for tests, and for mail that need
// not outlive the process.
//
// It keeps every promise of [queue.Store] but one: "durable" lasts as long as
// the process. It starts no goroutine, and its timers run on virtual time in
// a testing/synctest bubble.
package memstore
