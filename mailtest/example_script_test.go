package mailtest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sqmail/sqmail/mailtest"
)

// What a foreign server can be told to do: the first rule that applies
// decides, conditions narrow it, and what stands before the last word is done
// as well.
func ExamplePeer_On() {
	peer := new(mailtest.Peer)

	// Replies: to the third RCPT, to the second MAIL of each session, to one
	// recipient, to whoever sends more than ten messages in a minute.
	peer.On(mailtest.Rcpt, mailtest.Nth(3)).Reply(451, "4.7.1", "slow down")
	peer.On(mailtest.Mail, mailtest.InSession(mailtest.Nth, 2)).Reply(421, "4.7.0", "one is enough")
	peer.On(mailtest.Rcpt, mailtest.For("nobody@example.org")).Reply(550, "5.1.1", "no such user")
	peer.On(mailtest.Mail, mailtest.Above(10, time.Minute)).Reply(421, "4.7.0", "too fast")

	// A greylist, and a tarpit.
	peer.On(mailtest.Rcpt, mailtest.Greylisted(5*time.Minute)).Reply(450, "4.7.1", "greylisted")
	peer.On(mailtest.Rcpt, mailtest.After(5)).Delay(20 * time.Second)

	// The network: 100 octets a second from DATA on, a reset in the midst of
	// the second message, no word any more, an end in one direction.
	peer.On(mailtest.Data, mailtest.Nth(1)).Slow(100)
	peer.On(mailtest.Data, mailtest.Nth(2)).DropAfter(5000)
	peer.On(mailtest.Data, mailtest.Nth(3)).Hang()
	peer.On(mailtest.Hello, mailtest.Nth(9)).HalfClose()

	// TLS that is none.
	peer.On(mailtest.StartTLS, mailtest.First(1)).BadTLS()

	// The message is there, and the answer is lost: the client is in doubt.
	peer.On(mailtest.Body, mailtest.Nth(1)).Take().Drop()
}

// The message has arrived whole, and the client cannot know it.
func ExampleAction_Take() {
	network := new(mailtest.Network)
	peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
	peer.On(mailtest.Body).Take().HalfClose()
	fmt.Println(talk(network, "HELO a.test", "MAIL FROM:<>", "RCPT TO:<bob@b.test>", "DATA", "\r\nhello\r\n."))
	fmt.Println(len(peer.Messages()), "message")
	// Output:
	// 220 250 250 250 354 EOF
	// 1 message
}

// Two messages are taken in a minute, and the third is too many.
func ExampleAbove() {
	network := new(mailtest.Network)
	peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
	peer.On(mailtest.Mail, mailtest.Above(2, time.Minute)).Reply(421, "4.7.0", "too fast")
	fmt.Println(talk(network, "HELO a.test", "MAIL FROM:<>", "RSET", "MAIL FROM:<>", "RSET", "MAIL FROM:<>", "NOOP"))
	// Output:
	// 220 250 250 250 250 250 421 EOF
}

// In a synctest bubble the five minutes are over at once.
func ExampleGreylisted() {
	network := new(mailtest.Network)
	peer := mailtest.NewPeer(t, network, "192.0.2.1:25")
	peer.On(mailtest.Rcpt, mailtest.Greylisted(5*time.Minute)).Reply(450, "4.7.1", "come back")
	fmt.Println(talk(network, "HELO a.test", "MAIL FROM:<>", "RCPT TO:<bob@b.test>", "RCPT TO:<bob@b.test>"))
	// Output:
	// 220 250 250 450 450
}

// talk says lines to the peer, one after another, and returns the codes that
// it answers.
func talk(network *mailtest.Network, lines ...string) string {
	conn, err := network.DialContext(context.Background(), "tcp", "192.0.2.1:25")
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	codes := []string{code(r)}
	for _, line := range lines {
		io.WriteString(conn, line+"\r\n")
		codes = append(codes, code(r))
	}
	return strings.Join(codes, " ")
}

func code(r *bufio.Reader) string {
	line, err := r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return line[:3]
}
