package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/sqmail/sqmail"
)

// poster is a sqmail.Receiver that posts messages to a web application. A
// message is in a temporary file, not in memory, while it comes in: the header
// fields that the server adds are known only at its end.
type poster struct {
	url    string
	client *http.Client
}

func newPoster(url string) *poster {
	// To follow a redirect would turn POST into GET, and lose the message.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &poster{url: url, client: &http.Client{Timeout: postTimeout, CheckRedirect: stay}}
}

func (p *poster) Receive(ctx context.Context, env *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
	file, err := os.CreateTemp("", "gateway")
	if err != nil {
		return sqmail.Receipt{}, err // unclassified: a deferral
	}
	defer file.Close()
	os.Remove(file.Name())
	size, err := io.Copy(file, body)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	message := io.MultiReader(bytes.NewReader(env.Header), io.NewSectionReader(file, 0, size))
	return p.post(ctx, env, message, int64(len(env.Header))+size)
}

func (p *poster) post(ctx context.Context, env *sqmail.Envelope, message io.Reader, size int64) (sqmail.Receipt, error) {
	target, err := p.target(env)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, message)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	request.ContentLength = size
	request.Header.Set("Content-Type", "message/rfc822")
	response, err := p.client.Do(request)
	if err != nil {
		return sqmail.Receipt{}, err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return sqmail.Receipt{}, refusal(response)
	}
	return sqmail.Receipt{ID: response.Header.Get("X-Message-ID")}, nil
}

// target is the URL with the envelope.
func (p *poster) target(env *sqmail.Envelope) (string, error) {
	u, err := url.Parse(p.url)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("from", env.ReversePath.String())
	for _, to := range env.Recipients {
		q.Add("to", to.Path.String())
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// refusal is what an answer other than 2xx means. Only 4xx rejects, and not
// those that ask for another try.
func refusal(response *http.Response) error {
	cause := fmt.Errorf("the application answered %s", response.Status)
	code := response.StatusCode
	if code/100 != 4 || code == http.StatusRequestTimeout || code == http.StatusTooEarly || code == http.StatusTooManyRequests {
		return cause
	}
	return &sqmail.Error{
		Op:    "post",
		Class: sqmail.Rejection,
		Reply: sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 6, 0}, Text: "the application does not take this message"},
		Err:   cause,
	}
}
