package pop3_test

import (
	"bufio"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sqmail/sqmail/pop3"
)

// TestSlowPeersKeepNobodyOut: clients that send an octet a second do not hold
// up another one, and are gone when the time for a command is over.
func TestSlowPeersKeepNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &pop3.Server{}
		dial := func() net.Conn {
			ours, theirs := net.Pipe()
			go server.ServeConn(theirs)
			return ours
		}
		const peers = 200
		var gone atomic.Int64
		for range peers {
			c := dial()
			go io.Copy(io.Discard, c)
			go func() {
				defer gone.Add(1)
				defer c.Close()
				for err := error(nil); err == nil; time.Sleep(time.Second) {
					_, err = c.Write([]byte("x"))
				}
			}()
		}
		time.Sleep(20 * time.Second)
		start := time.Now()
		good := dial()
		r := bufio.NewReader(good)
		line, err := r.ReadString('\n')
		io.WriteString(good, "QUIT\r\n")
		if _, err := r.ReadString('\n'); err != nil || time.Since(start) > 0 || gone.Load() > 0 {
			t.Errorf("%q, %v after %v; %d have left", line, err, time.Since(start), gone.Load())
		}
		if err != nil {
			t.Error(err)
		}
		time.Sleep(20 * time.Minute)
		if n := gone.Load(); n != peers {
			t.Errorf("%d of %d are gone", n, peers)
		}
		server.Close()
		time.Sleep(2 * time.Second)
	})
}
