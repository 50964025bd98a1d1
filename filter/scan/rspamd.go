package scan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/internal/field"
)

// Rspamd asks rspamd, by POST /checkv2, and does what it says:
//
//	no action, greylist             the message goes on (rspamd says "soft
//	                                reject" when its greylisting wants to defer)
//	add header, rewrite subject     X-Spam-Flag: YES; the subject stays
//	soft reject                     451 4.7.1
//	reject, discard, quarantine     554 5.7.1: no message vanishes
//	anything else                   a deferral
//
// All messages get the field X-Spam-Status, and the fields that rspamd itself
// wants to add, a DKIM-Signature among them. Those that it wants to remove stay.
type Rspamd struct {
	// Address is the path of a Unix socket, or host:port, of a normal worker.
	Address string

	// Dial opens connections, for instance over TLS. Nil: that of a zero
	// net.Dialer.
	Dial DialFunc

	// Timeout is for the whole exchange. 0: one minute.
	Timeout time.Duration

	// Password is sent to rspamd, if not "".
	Password string

	// HostName is who we are, for rspamd's MTA-Name; "" is not sent.
	HostName string

	// RejectAt is a score from which on messages are refused whatever the
	// action is. 0: none.
	RejectAt float64

	// TagOnly refuses no message: the action of one that would be refused
	// stands in the trace and the message is tagged as spam.
	TagOnly bool

	// MaxSize is the length beyond which messages pass without being asked
	// about, in octets. 0: 50 MiB, as rspamd takes at most.
	MaxSize int64

	// Strangers asks only about messages of those who are not relay clients.
	Strangers bool

	// Pass lets messages pass if rspamd cannot be asked; by default they are
	// deferred.
	Pass bool

	// Text is added to the reply that rejects a message.
	Text string

	// TempDir is where messages are put by. "": /tmp.
	TempDir string

	// Log hears of messages that pass because of Pass. Nil: discarded.
	Log *slog.Logger
}

const (
	rspamdTimeout = time.Minute
	rspamdMaxSize = 50 << 20
)

// Name returns "rspamd".
func (f *Rspamd) Name() string { return "rspamd" }

// Asks names the daemon.
func (f *Rspamd) Asks(s *filter.Session) string {
	if f.Strangers && s.RelayClient() {
		return ""
	}
	return "rspamd at " + f.Address
}

// Body returns a scanner for a message.
func (f *Rspamd) Body(ctx context.Context, s *filter.Session) (filter.Scanner, error) {
	if f.Strangers && s.RelayClient() {
		return nil, nil
	}
	return newSpooled(ctx, s, f.TempDir, cmp.Or(f.MaxSize, rspamdMaxSize), f.ask)
}

func (f *Rspamd) ask(m *spooled) (sqmail.Verdict, error) {
	raw, err := f.post(m)
	var a rspamdAnswer
	if err == nil {
		a, err = parseRspamd(raw)
	}
	var v sqmail.Verdict
	if err == nil {
		v, err = f.verdict(&a)
	}
	if err != nil {
		return unasked(m.ctx, f.Name(), f.Pass && m.ctx.Err() == nil, f.Log, fmt.Errorf("rspamd: %w", err))
	}
	return v, nil
}

// post sends the message, and returns the body of the answer.
func (f *Rspamd) post(m *spooled) ([]byte, error) {
	ctx, cancel := context.WithTimeout(m.ctx, cmp.Or(f.Timeout, rspamdTimeout))
	defer cancel()
	message, size := m.message()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://rspamd/checkv2", message)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	req.Header = f.header(m)
	transport := &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return f.Dial.dial(ctx, f.Address)
		},
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return readJSON(resp.Body)
}

// maxJSON bounds an answer: it lists all symbols, with what they rest on.
const maxJSON = 1 << 20

func readJSON(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	if err == nil && len(raw) > maxJSON {
		err = errLongAnswer
	}
	return raw, err
}

// header tells rspamd of the session and the envelope.
func (f *Rspamd) header(m *spooled) http.Header {
	h := http.Header{"Pass": {"all"}}
	set := func(name, value string) {
		if value != "" {
			h.Set(name, field.Printable(value, 1000))
		}
	}
	env, peer := m.envelope(), m.s.Peer
	set("From", "<"+env.ReversePath.String()+">")
	const most = 32 << 10 // of all header fields rspamd takes 80 KiB
	for i, n := 0, 0; i < len(env.Recipients) && n < most; i++ {
		to := field.Printable("<"+env.Recipients[i].Path.String()+">", 1000)
		h.Add("Rcpt", to)
		n += len(to)
	}
	set("Password", f.Password)
	set("MTA-Name", f.HostName)
	if peer == nil {
		return h
	}
	if ip := peer.Remote.Addr(); ip.IsValid() {
		set("IP", ip.WithZone("").String())
	}
	set("Helo", peer.Hello)
	set("Hostname", peer.Name)
	set("User", peer.User)
	set("Queue-Id", peer.Session)
	if peer.TLS != nil {
		set("TLS-Version", tlsVersion(peer.TLS.Version))
		set("TLS-Cipher", tlsCipher(peer.TLS.CipherSuite))
	}
	return h
}

var errAction = errors.New("unknown action")

// verdict does what the answer says.
func (f *Rspamd) verdict(a *rspamdAnswer) (sqmail.Verdict, error) {
	v := sqmail.Verdict{Action: sqmail.ActionTag, Rule: a.rule(), Input: a.symbolList()}
	spam := false
	switch a.Action {
	case "no action", "greylist":
	case "add header", "rewrite subject":
		spam = true
	case "soft reject":
		v.Action, v.Reply = sqmail.ActionDefer, a.reply(tryLater)
	case "reject", "discard", "quarantine":
		v.Action, v.Reply = sqmail.ActionReject, withText(a.reply(rejected), f.Text)
	default:
		return v, fmt.Errorf("%w %q", errAction, field.ASCII(a.Action, 100))
	}
	if f.RejectAt > 0 && a.Score >= f.RejectAt && v.Action == sqmail.ActionTag {
		v.Action, v.Reply = sqmail.ActionReject, withText(rejected, f.Text)
	}
	if v.Action != sqmail.ActionTag && f.TagOnly {
		v.Action, v.Reply, spam = sqmail.ActionTag, sqmail.Reply{}, true
	}
	if v.Action == sqmail.ActionTag {
		v.Header = spamFields(spam, a.Score, a.Required, a.symbolList()) + a.fields()
	}
	return v, nil
}

var (
	tryLater = sqmail.Reply{Code: 451, Enhanced: sqmail.EnhancedCode{4, 7, 1}, Text: "try again later"}
	rejected = sqmail.Reply{Code: 554, Enhanced: sqmail.EnhancedCode{5, 7, 1}, Text: "sorry, message looks like spam"}
)
