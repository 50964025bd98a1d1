//go:build race

package main

// underRace: pools forget on purpose, so that nothing can be said of what is
// allocated.
const underRace = true
