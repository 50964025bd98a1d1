package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/sqmail/sqmail/bench/internal/load"
)

// answer is a result on its way from the client's process.
type answer struct {
	load.Result
	Failure string // for Err, which JSON cannot carry
}

func printResult(r load.Result) {
	a := answer{Result: r}
	if r.Err != nil {
		a.Failure, a.Err = r.Err.Error(), nil
	}
	json.NewEncoder(os.Stdout).Encode(a)
}

// sendApart runs this program again as the client.
func sendApart(l load.Load) (load.Result, error) {
	self, err := os.Executable()
	if err != nil {
		return load.Result{}, err
	}
	cmd := exec.Command(self, "-client", "-addr", l.Addr, "-rcpt", l.To, "-size", strconv.Itoa(l.Size), "-c", strconv.Itoa(l.Connections),
		"-new="+strconv.FormatBool(l.New), "-time", l.Time.Round(time.Millisecond).String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return load.Result{}, err
	}
	var a answer
	if err := json.Unmarshal(out, &a); err != nil {
		return load.Result{}, err
	}
	if a.Failure != "" {
		a.Err = errors.New(a.Failure)
	}
	return a.Result, nil
}
