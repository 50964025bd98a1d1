package queueadmin

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// Handler serves an [Admin] over HTTP:
//
//	GET    /messages               a JSON object a line: {"entry":…} or {"error":…}
//	GET    /messages/ID            the entry
//	GET    /messages/ID/content    the message; ranges are possible
//	POST   /messages/ID/hold
//	POST   /messages/ID/release
//	POST   /messages/ID/retry      with at=RFC 3339 time, or none for now
//	DELETE /messages/ID
//	GET    /stats
//	POST   /messages               a queue.Submission as a JSON object, LF, the message
//
// The last one needs an [Importer]; it is answered with {"id":…}.
//
// An error is answered with {"error":…} and status 404 for a message that is
// not in the queue, 400 for a request that makes no sense, else 500.
func Handler(q Admin) http.Handler {
	h := &handler{q}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", h.scan)
	mux.HandleFunc("GET /messages/{id}", h.onMessage(h.entry))
	mux.HandleFunc("GET /messages/{id}/content", h.onMessage(h.content))
	mux.HandleFunc("POST /messages/{id}/hold", h.onMessage(h.hold))
	mux.HandleFunc("POST /messages/{id}/release", h.onMessage(h.release))
	mux.HandleFunc("POST /messages/{id}/retry", h.onMessage(h.retry))
	mux.HandleFunc("DELETE /messages/{id}", h.onMessage(h.remove))
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, q.Stats()) })
	if importer, ok := q.(Importer); ok {
		mux.Handle("POST /messages", &importHandler{importer})
	}
	return mux
}

type handler struct{ q Admin }

// line is one line of a scan.
type line struct {
	Entry *queue.Entry `json:"entry,omitempty"`
	Error string       `json:"error,omitempty"`
}

func (h *handler) scan(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for e, err := range h.q.Scan(r.Context()) {
		l := line{Entry: e}
		if err != nil {
			l = line{Error: err.Error()}
		}
		if enc.Encode(l) != nil {
			return // the client is gone
		}
	}
}

// onMessage makes a function of a message number and its error a handler.
func (h *handler) onMessage(f func(http.ResponseWriter, *http.Request, queue.ID) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := queue.ParseID(r.PathValue("id"))
		if err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
		switch err := f(w, r, id); {
		case err == nil:
		case errors.Is(err, queue.ErrNotFound):
			fail(w, http.StatusNotFound, err)
		case errors.Is(err, errBadRequest):
			fail(w, http.StatusBadRequest, err)
		default:
			fail(w, http.StatusInternalServerError, err)
		}
	}
}

var errBadRequest = errors.New("queueadmin: at is not an RFC 3339 time")

func (h *handler) entry(w http.ResponseWriter, r *http.Request, id queue.ID) error {
	m, err := h.q.Open(r.Context(), id)
	if err != nil {
		return err
	}
	defer m.Close()
	writeJSON(w, m.Entry)
	return nil
}

func (h *handler) content(w http.ResponseWriter, r *http.Request, id queue.ID) error {
	m, err := h.q.Open(r.Context(), id)
	if err != nil {
		return err
	}
	defer m.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(m.Content, 0, m.Size))
	return nil
}

func (h *handler) hold(_ http.ResponseWriter, r *http.Request, id queue.ID) error {
	return h.q.Hold(r.Context(), id)
}

func (h *handler) release(_ http.ResponseWriter, r *http.Request, id queue.ID) error {
	return h.q.Release(r.Context(), id)
}

func (h *handler) retry(_ http.ResponseWriter, r *http.Request, id queue.ID) error {
	var at time.Time
	if s := r.FormValue("at"); s != "" {
		var err error
		if at, err = time.Parse(time.RFC3339Nano, s); err != nil {
			return errBadRequest
		}
	}
	return h.q.Retry(r.Context(), id, at)
}

func (h *handler) remove(_ http.ResponseWriter, r *http.Request, id queue.ID) error {
	return h.q.Remove(r.Context(), id)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(line{Error: err.Error()})
}
