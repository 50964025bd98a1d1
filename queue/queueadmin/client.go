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

// Scan yields the messages in the queue, one at a time as they come.
func (c *Client) Scan(ctx context.Context) iter.Seq2[*queue.Entry, error] {
	return func(yield func(*queue.Entry, error) bool) {
		resp, err := c.do(ctx, http.MethodGet, "/messages")
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		for dec := json.NewDecoder(resp.Body); ; {
			var l line
			if err := dec.Decode(&l); err == io.EOF {
				return
			} else if err != nil {
				yield(nil, err)
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
// when the message is.
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
	return &queue.Message{Entry: e, Content: &content{ctx, c, e}, Closer: io.NopCloser(nil)}, nil
}

// content reads a message by ranges.
type content struct {
	ctx   context.Context
	c     *Client
	entry *queue.Entry
}

func (r *content) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.entry.Size {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.entry.Size-off
	if short {
		p = p[:r.entry.Size-off]
	}
	req, err := r.c.request(r.ctx, http.MethodGet, "/messages/"+r.entry.ID.String()+"/content")
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))
	resp, err := r.c.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("queueadmin: status %s for a range", resp.Status)
	}
	n, err := io.ReadFull(resp.Body, p)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
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
	return nil, errors.New(l.Error)
}
