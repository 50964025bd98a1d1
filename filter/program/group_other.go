//go:build !unix

package program

import "os/exec"

// ownGroup does nothing where there are no process groups: the program alone
// is killed when its time is over.
func ownGroup(*exec.Cmd) {}

func killGroup(*exec.Cmd) {}
