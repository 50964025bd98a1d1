package control

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// daemon answers each connection with what answer returns, when it has read to
// where that wants to.
func daemon(t *testing.T, answer func(r *bufio.Reader, w io.Writer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				answer(bufio.NewReader(conn), conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// clamd is a clamd that has one signature.
func clamd(r *bufio.Reader, w io.Writer) {
	var message bytes.Buffer
	r.ReadString(0)
	for {
		var n uint32
		if binary.Read(r, binary.BigEndian, &n) != nil || n == 0 {
			break
		}
		io.CopyN(&message, r, int64(n))
	}
	if strings.Contains(message.String(), "EICAR") {
		io.WriteString(w, "stream: Eicar FOUND\x00")
		return
	}
	io.WriteString(w, "stream: OK\x00")
}

// spamd is a spamd that gives a message with "spam!" in it 9 points.
func spamd(r *bufio.Reader, w io.Writer) {
	length := 0
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = r.ReadString('\n'); err != nil {
			return
		}
		fmt.Sscanf(line, "Content-length: %d\r\n", &length)
	}
	message := make([]byte, length)
	io.ReadFull(r, message)
	answer := "SPAMD/1.1 0 EX_OK\r\nSpam: False ; 1.0 / 5.0\r\n\r\nNICE\r\n"
	if strings.Contains(string(message), "spam!") {
		answer = "SPAMD/1.1 0 EX_OK\r\nSpam: True ; 9.0 / 5.0\r\n\r\nBAD\r\n"
	}
	io.WriteString(w, answer)
}

// rspamd is an rspamd that rejects a message with "spam!" in it.
func rspamd(r *bufio.Reader, w io.Writer) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	text, _ := io.ReadAll(req.Body)
	action := `{"action":"no action","score":0.1,"required_score":15}`
	if strings.Contains(string(text), "spam!") {
		action = `{"action":"reject","score":99,"required_score":15}`
	}
	fmt.Fprintf(w, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(action), action)
}

// fakeMilter is a milter that rejects a message with "spam!" in its body.
func fakeMilter(r *bufio.Reader, w io.Writer) {
	say := func(packet string) {
		w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(packet))), packet...))
	}
	bad := false
	for {
		var n uint32
		if binary.Read(r, binary.BigEndian, &n) != nil || n == 0 || n > 1<<20 {
			return
		}
		packet := make([]byte, n)
		if _, err := io.ReadFull(r, packet); err != nil {
			return
		}
		switch packet[0] {
		case 'O':
			say("O\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00")
		case 'D', 'A':
		case 'Q':
			return
		case 'B':
			bad = strings.Contains(string(packet), "spam!")
			say("c")
		case 'E':
			if bad {
				say("r")
				continue
			}
			say("c")
		default:
			say("c")
		}
	}
}
