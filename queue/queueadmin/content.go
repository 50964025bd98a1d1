package queueadmin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/sqmail/sqmail/queue"
)

// content reads a message of another process. It keeps a request open, from
// which it reads on as long as each read begins where the last one ended.
type content struct {
	ctx  context.Context
	c    *Client
	id   queue.ID
	size int64

	mu   sync.Mutex
	body io.ReadCloser // nil: no request is open
	at   int64         // where body is
}

var errOffset = errors.New("queueadmin: negative offset")

// ReadAt implements [io.ReaderAt].
func (r *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errOffset
	}
	if off >= r.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > r.size-off
	if short {
		p = p[:r.size-off]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.seek(off); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r.body, p)
	r.at += int64(n)
	if err != nil {
		r.drop()
		return n, fmt.Errorf("queueadmin: message %v: %w", r.id, err)
	}
	if short {
		err = io.EOF
	}
	return n, err
}

// seek opens a request from off on, unless the one that is open is there.
func (r *content) seek(off int64) error {
	if r.body != nil && r.at == off {
		return nil
	}
	r.drop()
	req, err := r.c.request(r.ctx, http.MethodGet, "/messages/"+r.id.String()+"/content")
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	resp, err := r.c.send(req)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusPartialContent {
		resp.Body.Close()
		return fmt.Errorf("queueadmin: status %s for a range", resp.Status)
	}
	r.body, r.at = resp.Body, off
	return nil
}

func (r *content) drop() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}

// Close ends the request.
func (r *content) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
	return nil
}
