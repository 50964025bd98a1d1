package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sqmail/sqmail/mailtest"
)

// shown is a message as JSON.
type shown struct {
	Number  int       `json:"number"`
	Time    time.Time `json:"time"`
	From    string    `json:"from"`
	To      []string  `json:"to"`
	Subject string    `json:"subject"`
	Text    string    `json:"text"`
}

func handler(r *mailtest.Recorder) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /messages", func(w http.ResponseWriter, req *http.Request) { list(w, req, r) })
	mux.HandleFunc("GET /messages/{number}", func(w http.ResponseWriter, req *http.Request) { show(w, req, r) })
	mux.HandleFunc("DELETE /messages", func(w http.ResponseWriter, _ *http.Request) {
		r.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// maxWait bounds a wait.
const maxWait = 10 * time.Minute

func list(w http.ResponseWriter, req *http.Request, r *mailtest.Recorder) {
	n, within := 0, 10*time.Second
	var err error
	if v := req.FormValue("wait"); v != "" {
		n, err = strconv.Atoi(v)
	}
	if v := req.FormValue("within"); v != "" && err == nil {
		within, err = time.ParseDuration(v)
	}
	if err != nil {
		http.Error(w, "wait is a number, within a duration such as 10s", http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), min(within, maxWait))
	defer cancel()
	messages, err := r.Wait(ctx, n)
	all := make([]shown, len(messages))
	for i, m := range messages {
		all[i] = shown{i + 1, m.Time, m.Envelope.ReversePath.String(), recipients(m), m.Header("Subject"), m.Text()}
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusGatewayTimeout)
	}
	json.NewEncoder(w).Encode(all)
}

func show(w http.ResponseWriter, req *http.Request, r *mailtest.Recorder) {
	messages := r.Messages()
	n, err := strconv.Atoi(req.PathValue("number"))
	if err != nil || n < 1 || n > len(messages) {
		http.NotFound(w, req)
		return
	}
	// Not message/rfc822: nothing in a message is to be run by a browser.
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Write(messages[n-1].Data)
}

func recipients(m *mailtest.Message) []string {
	all := []string{}
	for _, to := range m.Envelope.Recipients {
		all = append(all, to.Path.String())
	}
	return all
}
