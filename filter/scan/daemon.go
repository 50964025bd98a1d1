package scan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// DialFunc opens a connection. That of a [net.Dialer] fits.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dial connects to address; one that begins with "/" is a Unix socket.
func (d DialFunc) dial(ctx context.Context, address string) (net.Conn, error) {
	if d == nil {
		d = new(net.Dialer).DialContext
	}
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	return d(ctx, network, address)
}

// exchange sends a question and returns the answer, all within timeout.
func (d DialFunc) exchange(ctx context.Context, address string, timeout time.Duration, question ...io.Reader) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := d.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() { stop(); conn.Close() }()
	_, sent := io.Copy(conn, io.MultiReader(question...))
	// A daemon that has heard enough answers, and closes, before it has read
	// everything. What it says tells more than the error of writing.
	answer, err := readAnswer(conn)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case sent != nil:
		return nil, fmt.Errorf("%w (answer %q)", sent, field.ASCII(string(answer), 200))
	}
	return answer, err
}

// maxAnswer is the longest answer that is read.
const maxAnswer = 64 << 10

var errLongAnswer = errors.New("scan: the answer is too long")

// readAnswer reads an answer to its end.
func readAnswer(r io.Reader) ([]byte, error) {
	answer, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = errLongAnswer
	}
	if err == nil && len(answer) == 0 {
		err = io.ErrUnexpectedEOF
	}
	return answer, err
}

// withText adds the site's text to a reply.
func withText(r sqmail.Reply, text string) sqmail.Reply {
	if text != "" {
		r.Text += "; " + text
	}
	return r
}

// unasked is the verdict on a message about which a daemon could not be
// asked.
func unasked(ctx context.Context, name string, pass bool, log *slog.Logger, err error) (sqmail.Verdict, error) {
	if !pass {
		return sqmail.Verdict{}, err
	}
	if log != nil {
		log.WarnContext(ctx, "message passes unseen", "filter", name, "err", err)
	}
	return sqmail.Verdict{Rule: "not asked", Input: field.ASCII(err.Error(), 200)}, nil
}
