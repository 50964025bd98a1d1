package queueadmin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
)

// maxSubmission bounds the JSON object of a message that is imported.
const maxSubmission = 256 << 20

// importHandler puts messages of other queues into this one.
type importHandler struct{ q Importer }

// imported is the answer.
type imported struct {
	ID queue.ID `json:"id"`
}

func (h *importHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := bufio.NewReaderSize(r.Body, 64<<10)
	s, err := readSubmission(body)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	id, err := h.q.Import(r.Context(), s, body)
	switch {
	case err == nil:
		writeJSON(w, imported{id})
	case sqmail.ClassOf(err) == sqmail.Rejection:
		fail(w, http.StatusUnprocessableEntity, err)
	default:
		fail(w, http.StatusInternalServerError, err)
	}
}

var (
	errTooLong  = errors.New("queueadmin: the submission is too long")
	errNotLine  = errors.New("queueadmin: a line with a submission is missing")
	errNobodyTo = errors.New("queueadmin: the submission has no envelope")
)

func readSubmission(r *bufio.Reader) (s queue.Submission, err error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		if text = append(text, part...); len(text) > maxSubmission {
			return s, errTooLong
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return s, errNotLine
		}
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, err
	}
	if s.Envelope == nil {
		return s, errNobodyTo
	}
	return s, nil
}

// Import puts a message of another queue into this one, as [queue.Import]
// does. When it fails without an answer the message may be there.
func (c *Client) Import(ctx context.Context, s queue.Submission, content io.Reader) (queue.ID, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return 0, err
	}
	req, err := c.request(ctx, http.MethodPost, "/messages")
	if err != nil {
		return 0, err
	}
	req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(append(text, '\n')), content))
	resp, err := c.send(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer imported
	err = json.NewDecoder(resp.Body).Decode(&answer)
	if err == nil && answer.ID == 0 {
		err = errors.New("queueadmin: the answer has no message number")
	}
	return answer.ID, err
}
