package queueadmin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// Client is the [Admin] of a queue in another process. Its methods return
// queue.ErrNotFound where a store would, and are safe for concurrent use.
type Client struct {
	// HTTP reaches the [Handler], at any host name. Nil: http.DefaultClient.
	HTTP *http.Client
}

// Dial returns a client for the [Handler] that serves a Unix socket. It fails
// if nobody listens there.
func Dial(ctx context.Context, socket string) (*Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	conn.Close()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", socket)
	}}
	return &Client{HTTP: &http.Client{Transport: transport}}, nil
}

// Close drops idle connections.
func (c *Client) Close() error {
	c.http().CloseIdleConnections()
	return nil
}

// ErrLost is what a scan ends with when the queue cannot be asked any more: the
// process has ended, for instance.
var ErrLost = errors.New("queueadmin: no connection to the queue")

func lost(err error) error { return fmt.Errorf("%w: %w", ErrLost, err) }

// Scan yields the messages in the queue, one at a time as they come.
func (c *Client) Scan(ctx context.Context) iter.Seq2[*queue.Entry, error] {
	return func(yield func(*queue.Entry, error) bool) {
		resp, err := c.do(ctx, http.MethodGet, "/messages")
		if err != nil {
			yield(nil, lost(err))
			return
		}
		defer resp.Body.Close()
		for dec := json.NewDecoder(resp.Body); ; {
			var l line
			if err := dec.Decode(&l); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, lost(err))
				return
			}
			var damaged error
			if l.Entry == nil {
				damaged = errors.New(l.Error)
			}
			if !yield(l.Entry, damaged) {
				return
			}
		}
	}
}

// Open returns a message; its content is fetched as it is read, and is gone
// when the message is. Reading on where the last read has ended costs no
// further request.
func (c *Client) Open(ctx context.Context, id queue.ID) (*queue.Message, error) {
	resp, err := c.do(ctx, http.MethodGet, "/messages/"+id.String())
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	e := new(queue.Entry)
	if err := json.NewDecoder(resp.Body).Decode(e); err != nil {
		return nil, err
	}
	r := &content{ctx: ctx, c: c, id: id, size: e.Size}
	return &queue.Message{Entry: e, Content: r, Closer: r}, nil
}

// Hold keeps a message from being attempted.
func (c *Client) Hold(ctx context.Context, id queue.ID) error { return c.act(ctx, id, "/hold") }

// Release undoes Hold.
func (c *Client) Release(ctx context.Context, id queue.ID) error { return c.act(ctx, id, "/release") }

// Retry makes a message due at a time, zero meaning now.
func (c *Client) Retry(ctx context.Context, id queue.ID, at time.Time) error {
	verb := "/retry"
	if !at.IsZero() {
		verb += "?at=" + url.QueryEscape(at.Format(time.RFC3339Nano))
	}
	return c.act(ctx, id, verb)
}

// Remove deletes a message.
func (c *Client) Remove(ctx context.Context, id queue.ID) error {
	return c.discard(c.do(ctx, http.MethodDelete, "/messages/"+id.String()))
}

// Stats returns the queue's counters, all zero if it does not answer.
func (c *Client) Stats() (s queue.Stats) {
	resp, err := c.do(context.Background(), http.MethodGet, "/stats")
	if err != nil {
		return s
	}
	defer resp.Body.Close()
	json.NewDecoder(resp.Body).Decode(&s)
	return s
}

func (c *Client) act(ctx context.Context, id queue.ID, verb string) error {
	return c.discard(c.do(ctx, http.MethodPost, "/messages/"+id.String()+verb))
}

func (c *Client) discard(resp *http.Response, err error) error {
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func (c *Client) http() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

func (c *Client) request(ctx context.Context, method, path string) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, method, "http://queue"+path, nil)
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := c.request(ctx, method, path)
	if err != nil {
		return nil, err
	}
	return c.send(req)
}

// send sends a request and makes an answer that tells of an error one.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	resp, err := c.http().Do(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, queue.ErrNotFound
	}
	var l line
	if json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&l) != nil || l.Error == "" {
		l.Error = "queueadmin: status " + resp.Status
	}
	if resp.StatusCode == http.StatusUnprocessableEntity {
		return nil, &sqmail.Error{Op: "queue administration", Class: sqmail.Rejection, Err: errors.New(l.Error)}
	}
	return nil, errors.New(l.Error)
}
