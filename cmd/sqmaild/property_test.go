package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/internal/cdb"
	"github.com/sqmail/sqmail/mailtest"
	"github.com/sqmail/sqmail/smtpd"
)

// The property: what explain says of a client is what the client hears, verdict
// by verdict, and a replay of the log of all of them under the same rules finds
// no difference. Homes, clients and messages are made up, by a seed that is
// always the same.
const (
	generatedHomes   = 125
	sessionsOfAHome  = 8
	propertySeed     = 20261120
	propertySessions = generatedHomes * sessionsOfAHome
)

// made up is what a session is about.
type generated struct {
	ip, name, hello, from string
	size                  int64
	to                    []string
	message               string
	again                 bool // a second transaction follows
}

func TestExplainAgreesWithTheSession(t *testing.T) {
	r := rand.New(rand.NewPCG(propertySeed, 1))
	refusals, codes, filters := 0, map[int]int{}, map[string]int{}
	sessions, decidedAgain := 0, 0
	var past []pastSession // of the home before
	for i := range generatedHomes {
		w := newWorld(t, r, i)
		decidedAgain += w.decideAgain(t, past)
		past = past[:0]
		for range sessionsOfAHome {
			g := generateSession(r)
			said := w.explain(t, g)
			live, heard := w.session(t, g)
			sessions++
			past = append(past, pastSession{g, live})
			if want, got := normal(said), normal(live.Steps); !slices.Equal(want, got) {
				t.Fatalf("home %d, %+v\nexplained:\n%s\nlive:\n%s\n%s", i, g, strings.Join(want, "\n"), strings.Join(got, "\n"), w.files)
			}
			last := live.Steps[len(live.Steps)-1]
			if last.Reply.Code != heard {
				t.Fatalf("home %d, %+v: heard %d, the story says %d", i, g, heard, last.Reply.Code)
			}
			codes[heard]++
			for _, s := range live.Steps {
				if s.Refused() {
					refusals++
					filters[s.Decided().Filter]++
				}
			}
		}
		w.replay(t, i)
	}
	t.Logf("%d sessions, %d of them decided again by other rules; %d refusals; last replies %v; refused by %v", sessions, decidedAgain, refusals, codes, filters)
	if sessions != propertySessions || decidedAgain < propertySessions/2 {
		t.Errorf("%d sessions, %d decided again by other rules", sessions, decidedAgain)
	}
	for _, f := range []string{"rules", "badhelo", "mfdnscheck", "rblsmtpd", "rcpthosts", "tarpit", "recipients", "localmfcheck", "badmailfrom", "badrcptto",
		"greylist", "badmimetypes", "badloadertypes", "maxrecipients", "databytes", "auth"} {
		if filters[f] == 0 {
			t.Errorf("nobody was refused by %s", f)
		}
	}
}

// pastSession is a session in another home.
type pastSession struct {
	g    *generated
	live *sqmail.Trace
}

// decideAgain replays the sessions of another home under the rules of this one.
// As far as a story goes that is what explain says of the client, unless
// something is not recorded. It returns how many stories held all that was
// needed.
func (w *world) decideAgain(t *testing.T, past []pastSession) (n int) {
	for _, s := range past {
		addr := netip.MustParseAddr(s.g.ip)
		p := w.config.Services[0].For(control.Client{Addr: addr, Host: s.g.name})
		again, err := explainedChain(w.filters, p).Replay(t.Context(), s.live, limitsOf(p))
		if err != nil {
			t.Fatal(err)
		}
		if len(again.Unknown) > 0 {
			continue
		}
		n++
		want, got := normal(w.explain(t, s.g)), normal(again.Steps)
		if len(got) > len(want) || !slices.Equal(want[:len(got)], got) {
			t.Fatalf("%+v\nexplained:\n%s\nreplayed:\n%s\nof %v\n%s", s.g, strings.Join(want, "\n"), strings.Join(got, "\n"), s.live, w.files)
		}
	}
	return n
}

// normal is what has to agree: verdicts that nobody notes are left out, and
// what they took.
func normal(steps []sqmail.Step) (lines []string) {
	for _, s := range steps {
		line := fmt.Sprintf("%s %q %d", s.Stage, s.Input, s.Reply.Code)
		for _, v := range s.Verdicts {
			if v.Action != sqmail.ActionPass || v.Rule != "" {
				line += fmt.Sprintf(" [%s %s %s %q %q %s:%d %d]", v.Stage, v.Filter, v.Action, v.Rule, v.Input, v.File, v.Line, v.Reply.Code)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// world is a home, and a server for it.
type world struct {
	files   string
	config  *control.Config
	snap    *snapshot
	filters *control.Filters // for explanations: another set, with the same rules
	net     mailtest.Network
	name    string // of the next client

	mu     sync.Mutex
	traces []*sqmail.Trace
	log    bytes.Buffer
}

func newWorld(t *testing.T, r *rand.Rand, n int) *world {
	w := &world{}
	dir := t.TempDir()
	for name, text := range generateHome(r, n == 0) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if text != "" && !strings.HasSuffix(name, ".cdb") {
			w.files += "== " + name + "\n" + text
		}
	}
	var err error
	if w.config, err = control.Load(dir); err != nil {
		t.Fatalf("%v\n%s", err, w.files)
	}
	t.Cleanup(func() { w.config.Close() })
	zone := mailtest.NewZone(t, propertyZone)
	zone.On(mailtest.Any, mailtest.For("servfail.test")).ServFail()
	parts := control.Parts{Resolver: zone, Greylist: &someKnown{seen: map[string]filter.GreyRecord{}}, TempDir: dir}
	w.filters, w.snap = w.config.Filters(parts), &snapshot{config: w.config, services: map[string]*control.Service{}, filters: w.config.Filters(parts)}
	w.snap.services["smtpd"] = w.config.Services[0]
	w.serve(t, n)
	return w
}

// serve serves the home with the daemon's own servers.
func (w *world) serve(t *testing.T, n int) {
	var handler slog.Handler = slog.NewJSONHandler(&w.log, nil)
	if n%2 == 1 {
		handler = slog.NewTextHandler(&w.log, nil)
	}
	d := &daemon{log: slog.New(&keeper{Handler: handler, w: w})}
	server := &smtpd.Server{Name: "smtpd", Log: d.log}
	server.ForPeer = func(_ context.Context, peer *sqmail.Peer) (*smtpd.Server, error) {
		peer.Name = w.name
		p, err := w.snap.admit("smtpd", peer)
		if err != nil {
			return nil, err
		}
		return made(&w.snap.smtp, p, func() *smtpd.Server {
			s := w.snap.smtpServer(d, w.config.Services[0], p)
			s.Receiver = sqmail.ReceiverFunc(func(_ context.Context, _ *sqmail.Envelope, body io.Reader) (sqmail.Receipt, error) {
				_, err := io.Copy(io.Discard, body)
				return sqmail.Receipt{ID: "1"}, err
			})
			return s
		}), nil
	}
	ln, err := w.net.Listen("tcp", "203.0.113.25:25")
	if err != nil {
		t.Fatal(err)
	}
	ln6, err := w.net.Listen("tcp", "[2001:db8::25]:25")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []interface {
		Close() error
	}{ln, ln6} {
		t.Cleanup(func() { l.Close() })
	}
	go server.Serve(ln)
	go server.Serve(ln6)
	t.Cleanup(func() { server.Close() })
}

// keeper keeps the stories that are logged.
type keeper struct {
	slog.Handler
	w *world
}

func (k *keeper) Handle(ctx context.Context, r slog.Record) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if tr, ok := a.Value.Any().(*sqmail.Trace); ok {
			k.w.traces = append(k.w.traces, tr)
		}
		return true
	})
	return k.Handler.Handle(ctx, r)
}

// someKnown is a greylist that knows some from before.
type someKnown struct {
	mu   sync.Mutex
	seen map[string]filter.GreyRecord
}

func (s *someKnown) Update(_ context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[key]; !known && key[0]%2 == 0 {
		now := time.Now()
		s.seen[key] = filter.GreyRecord{First: now.Add(-time.Hour), Passed: true, Expires: now.Add(30 * 24 * time.Hour)}
	}
	s.seen[key] = f(s.seen[key])
	return nil
}

// explain asks what would become of a session.
func (w *world) explain(t *testing.T, g *generated) []sqmail.Step {
	addr := netip.MustParseAddr(g.ip)
	p := w.config.Services[0].For(control.Client{Addr: addr, Host: g.name})
	from, to := pathOf(t, g.from), []sqmail.Path{}
	for _, a := range g.to {
		to = append(to, pathOf(t, a))
	}
	steps, err := explainedChain(w.filters, p).Explain(t.Context(), &filter.Facts{
		Peer: &sqmail.Peer{Remote: netip.AddrPortFrom(addr, 1), Name: g.name, Hello: g.hello},
		From: from, To: to, Size: g.size, Message: strings.NewReader(g.message), Limits: limitsOf(p),
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func pathOf(t *testing.T, s string) sqmail.Path {
	if s == "" {
		return sqmail.Path{}
	}
	p, err := sqmail.ParsePath(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// session is the same in earnest. It returns the story of its first transaction,
// and the last reply that was about it.
func (w *world) session(t *testing.T, g *generated) (*sqmail.Trace, int) {
	before := w.count()
	w.name = g.name
	c := &client{t: t}
	to := "203.0.113.25:25"
	if strings.Contains(g.ip, ":") {
		to = "[2001:db8::25]:25"
	}
	conn, err := w.net.DialFrom(t.Context(), netip.MustParseAddr(g.ip), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c.conn, c.r = conn, bufio.NewReader(conn)
	heard := 0
	if heard = c.reply(); heard == 220 && c.do("EHLO "+g.hello) == 250 {
		heard = c.transaction(g)
		if g.again && heard != 0 {
			more := *g
			more.from, more.to = "sue@client.test", append([]string{"new@example.org"}, g.to...)
			c.transaction(&more)
		}
	}
	c.do("QUIT")
	io.Copy(io.Discard, c.r) // until the session is over
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.traces) == before {
		t.Fatalf("%+v: no story", g)
	}
	return w.traces[before], heard
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.traces)
}

// client is a client of SMTP.
type client struct {
	t    *testing.T
	conn io.Writer
	r    *bufio.Reader
}

func (c *client) do(line string) int {
	io.WriteString(c.conn, line+"\r\n")
	return c.reply()
}

// reply reads a reply; 0 if the session is over.
func (c *client) reply() (code int) {
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return 0
		}
		if line[3] == ' ' {
			fmt.Sscan(line[:3], &code)
			return code
		}
	}
}

// transaction returns the last reply about the transaction that a step tells of.
func (c *client) transaction(g *generated) int {
	mail := "MAIL FROM:<" + g.from + ">"
	if g.size > 0 {
		mail += fmt.Sprintf(" SIZE=%d", g.size)
	}
	last := c.do(mail)
	if last != 250 {
		return last
	}
	taken := 0
	for _, to := range g.to {
		if last = c.do("RCPT TO:<" + to + ">"); last == 250 {
			taken++
		} else if last == 0 || last == 421 {
			return last
		}
	}
	if taken == 0 {
		c.do("RSET")
		return last
	}
	if code := c.do("DATA"); code != 354 {
		return code
	}
	io.WriteString(c.conn, strings.ReplaceAll(g.message, "\n", "\r\n")+".\r\n")
	return c.reply()
}

// replay runs the log of the home through its own rules.
func (w *world) replay(t *testing.T, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &replay{home: w.config.Home, config: w.config, chains: map[chainKey]*filter.Chain{}}
	r.filters = w.config.Filters(control.Parts{Resolver: noNetwork{}, Greylist: noNetwork{}, TempDir: w.config.Home})
	defer r.filters.Close()
	var out bytes.Buffer
	if err := r.run(t.Context(), &out, filter.NewLogReader(&w.log)); err != nil {
		t.Fatal(err)
	}
	s := r.summary
	if s.Transactions != int64(len(w.traces)) || s.Differences+s.Moved+s.Unknown+s.NoService+s.Damaged > 0 {
		t.Fatalf("home %d: %d stories, replayed as\n%s\n%s", n, len(w.traces), out.String(), w.files)
	}
}

const propertyZone = `
	client.test        MX   10 mx.client.test
	mx.client.test     A    192.0.2.50
	x.test             A    192.0.2.51
	bad.test           A    192.0.2.52
	marked.test        MX   10 mx.client.test
	host.test          A    192.0.2.53
	mail.host.test     A    192.0.2.8
	nullmx.test        MX   0 .
	example.org        MX   10 mx.client.test
	9.100.51.198.bl.test  TXT  "you are listed"
	9.100.51.198.bl.test  A    127.0.0.2
	8.2.0.192.bl.test     TXT  "you too"
	8.2.0.192.wl.test     A    127.0.0.3
	5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.own.test A 127.0.0.2
`

// some returns some of the lines of a pool, each at a line of its own.
func some(r *rand.Rand, pool ...string) string {
	text := "# made up\n"
	for _, line := range pool {
		if r.IntN(3) == 0 {
			text += line + "\n"
		}
	}
	return text
}

func one(r *rand.Rand, pool ...string) string { return pool[r.IntN(len(pool))] }

// generateHome makes up the files of a home.
func generateHome(r *rand.Rand, full bool) map[string]string {
	files := map[string]string{
		"control/me": "mx.example.org\n", "alias/.qmail-default": "", "users/accounts": "", "queue/x": "",
		"control/rcpthosts":      "# ours\nexample.org\n" + one(r, "", ".example.org\n", "example.net\n.example.org\n"),
		"control/badmailfrom":    some(r, "evil@*", "@bad.test", "?good@bad.test", "@marked.test+", "@marked.test-", "@host.test=", "~host.test", "*spam*", "!nospam@*", "a@client.test"),
		"control/badrcptto":      some(r, "joe@example.org", "@example.net", "*list*", "!list-good@*", "*@sub.example.org"),
		"control/badhelo":        some(r, "badhelo.test", "*.dyn.test", "ok.dyn.test!", "mail.host.test!"),
		"control/badmimetypes":   "TVqQAAMAA\nUEsDBBQAA\n",
		"control/badloadertypes": "Mi5kb\nMxxxx\n",
		"control/mailfromrules":  "192.0.2.7&@client.test\n=&@host.test\n",
		"control/rbl":            "# lists\n!wl.test\n" + one(r, "bl.test\n", "-bl.test\n", "bl.test:see %IP%\n") + one(r, "", "own.test:go away\n"),
		"control/rules.smtpd":    "# rules\n192.0.2.66:deny\n" + generateRules(r),
		"control/services":       "smtpd smtp 127.0.0.1:0 " + generateVariables(r) + " rules=rules.smtpd\n",
		"users/recipients.cdb":   knownRecipients,
	}
	if r.IntN(2) == 0 {
		files["control/recipients"] = "# who exists\n" + some(r, "!example.net", "@sub.example.org:users/recipients.cdb", "!*") + "example.org:users/recipients.cdb\n"
	}
	return files
}

// knownRecipients is a database of recipients.
var knownRecipients = func() string {
	dir, err := os.MkdirTemp("", "sqmail")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "recipients.cdb")
	err = cdb.Create(name, func(w *cdb.Writer) error {
		return compile.Recipients(strings.NewReader("joe@example.org\nsue@example.org\nlist-@example.org\nx@sub.example.org\n"), w.Put)
	})
	text, readErr := os.ReadFile(name)
	if err != nil || readErr != nil {
		panic(fmt.Sprint(err, readErr))
	}
	return string(text)
}()

func generateRules(r *rand.Rand) string {
	return some(r, `192.0.2.7:allow,RELAYCLIENT=""`, `192.0.2.8:allow,RELAYCLIENT="`+one(r, "", ".relay")+`",LOCALMFCHECK="`+one(r, "", "!", "=", "client.test")+`"`,
		`192.0.2.:allow,MAXRECIPIENTS="1"`, `=.host.test:allow,RBLSMTPD="`+one(r, "", "-", "")+`go away"`, "198.51.100.:allow,SMTPAUTH=\"!\"",
		"2001:db8:::allow,GREYLIST=\"\"", `=:allow,HELOCHECK="="`) + one(r, "", "", ":allow\n", ":deny\n")
}

// generateVariables makes up what a service says of filters.
func generateVariables(r *rand.Rand) string {
	pool := []string{
		`HELOCHECK="` + one(r, "", ".", "=", "A", "M", "!") + `"`, `MFDNSCHECK=""`, fmt.Sprintf("MAXRECIPIENTS=%d", 1+r.IntN(3)),
		fmt.Sprintf("TARPITCOUNT=%d", 1+r.IntN(2)), `RECIPIENTS450=""`, `GREYLIST=""`, `RBL="` + one(r, "", "reject", "strict", "tag", "connect") + `"`,
		`BADMIMETYPE="` + one(r, "", "!", "+") + `"`, `BADLOADERTYPE="` + one(r, "M", "+") + `"`, fmt.Sprintf("DATABYTES=%d", 200+r.IntN(400)),
		`REPLY_BADMAILFROM="call us"`, `LOCALMFCHECK=""`, `MIMEFILTER=""`,
	}
	var chosen []string
	for _, v := range pool {
		if r.IntN(3) == 0 && v != `MIMEFILTER=""` {
			chosen = append(chosen, v)
		}
	}
	return strings.Join(chosen, " ")
}

var propertyMessages = []string{
	"Subject: hi\n\nhello\n",
	"Content-Transfer-Encoding: base64\n\nTVqQAAMAAAAEAAAA//8AALgAAAA\n\n",
	"Content-Transfer-Encoding: base64\n\nQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpN\nAAMi5kbAAAA\n\n",
	"Content-Transfer-Encoding: base64\n\nAAA AAA\n\n",
	"Subject: long\n\n" + strings.Repeat("a line of text\n", 50),
}

// generateSession makes up a client.
func generateSession(r *rand.Rand) *generated {
	g := &generated{
		ip:      one(r, "192.0.2.7", "192.0.2.8", "192.0.2.66", "198.51.100.9", "203.0.113.77", "2001:db8::5"),
		name:    one(r, "", "", "mail.host.test", "ok.dyn.test", "client.test"),
		hello:   one(r, "client.test", "client.test", "mail.host.test", "badhelo.test", "x.dyn.test", "ok.dyn.test", "nowhere.test", "servfail.test"),
		from:    one(r, "", "a@client.test", "sue@client.test", "evil@x.test", "b@bad.test", "good@bad.test", "m@marked.test", "h@host.test", "spammer@x.test", "x@nodomain.test", "s@servfail.test", "n@nullmx.test", "l@[192.0.2.1]"),
		message: propertyMessages[r.IntN(len(propertyMessages))],
		again:   r.IntN(3) == 0,
	}
	if r.IntN(8) == 0 {
		g.size = int64(r.IntN(900))
	}
	for range 1 + r.IntN(4) {
		g.to = append(g.to, one(r, "joe@example.org", "sue@example.org", "nobody@example.org", "list-joe@example.org", "list-good@example.org", "a@example.net", "x@sub.example.org", "f@foreign.test"))
	}
	return g
}
