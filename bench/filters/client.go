package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sqmail/sqmail/bench/internal/load"
	"github.com/sqmail/sqmail/bench/internal/meter"
)

// The clients are in so many networks, and write so many different letters.
const (
	networks = 16
	pairs    = 1000
)

// clientAddress is an address in the n-th network, which a rule near the end
// of the rules file lets in.
func clientAddress(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(n), 7})
}

// pair returns sender and recipient of the i-th letter. The recipient is
// anywhere in a database of so many records.
func pair(i, records int) (from, to string) {
	k := i * (records/pairs + 1) % records
	return fmt.Sprintf("user%d@m%d.bench.test", k, k), fmt.Sprintf("user%d@m%d.bench.test", records-1-k, records-1-k)
}

// message returns a letter with an attachment, half of it each.
func message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("From: sender@client.test\r\nTo: user@bench.test\r\nSubject: bench\r\nMIME-Version: 1.0\r\n" +
		"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\nMessage-ID: <1@client.test>\r\n" +
		"Content-Type: multipart/mixed; boundary=\"=-bench\"\r\n\r\n--=-bench\r\nContent-Type: text/plain\r\n\r\n")
	for b.Len() < size/2 {
		b.WriteString("abcdefghij klmnopqrst uvwxyz 01234567 abcdefghij klmnopqrst uvwxyz 012\r\n")
	}
	b.WriteString("--=-bench\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=\"report.pdf\"\r\n\r\n")
	for i := 0; b.Len() < size-80; i++ {
		line := fmt.Appendf(nil, "%%PDF-1.7 %05d 2i.5kb 32.dll My attachment %07d", i, i*i)
		b.WriteString(base64.StdEncoding.EncodeToString(line) + "\r\n")
	}
	b.WriteString("--=-bench--\r\n.\r\n")
	return b.Bytes()
}

// client is what the clients do.
type client struct {
	addr        string
	connections int
	new         bool
	size        int
	records     int
	time        time.Duration
}

// result is what became of it.
type result struct {
	Accepted int
	Elapsed  time.Duration
	CPU      time.Duration // of the clients
	Failure  string
}

// run sends letters from all connections until the time is over.
func (c *client) run() result {
	message, start := message(c.size), time.Now()
	accepted, errs := make([]int, c.connections), make([]error, c.connections)
	var all sync.WaitGroup
	for i := range c.connections {
		all.Go(func() { accepted[i], errs[i] = c.connection(i, message, start.Add(c.time)) })
	}
	all.Wait()
	r := result{Elapsed: time.Since(start), CPU: meter.Now().CPU}
	for _, n := range accepted {
		r.Accepted += n
	}
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		r.Failure = errs[i].Error()
	}
	return r
}

func (c *client) connection(number int, message []byte, end time.Time) (accepted int, err error) {
	var conn *load.Client
	for n := number * 31; time.Now().Before(end); n++ {
		if conn == nil {
			if conn, err = load.DialAs(c.addr, clientAddress(number%networks)); err != nil {
				return accepted, err
			}
		}
		if _, err := conn.Send(load.Envelope(pair(n%pairs, c.records)), message); err != nil {
			conn.Close()
			return accepted, err
		}
		accepted++
		if c.new {
			conn.Quit()
			conn.Close()
			conn = nil
		}
	}
	if conn != nil {
		conn.Quit()
		conn.Close()
	}
	return accepted, nil
}

// apart does it in a process of its own, so that the CPU time of this one is
// the server's.
func (c *client) apart() (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "-client", c.addr, "-c", strconv.Itoa(c.connections), "-new="+strconv.FormatBool(c.new),
		"-size", strconv.Itoa(c.size), "-records", strconv.Itoa(c.records), "-time", c.time.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, err
	}
	if r.Failure != "" {
		err = errors.New(r.Failure)
	}
	return r, err
}
