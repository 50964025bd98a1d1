// Smarthost takes mail from users who log in, keeps it in a durable queue, and
// hands it to one relay: what a laptop, an office or a container host needs
// when only the provider's server may send.
//
//	openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 365 -subj /CN=smarthost.example.org
//	USER_JOE=secret RELAY_PASSWORD=… go run ./examples/smarthost -listen :2587 \
//		-cert cert.pem -key key.pem -relay mail.provider.example:587 -relay-user me
//
// Users log in over TLS only, with the passwords that the environment names:
// USER_JOE is joe's. What the relay defers is tried for seven days; what it
// rejects is returned to the sender, by way of the same relay.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/delivery"
	"github.com/sqmail/sqmail/delivery/remote"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/segstore"
	"github.com/sqmail/sqmail/smtpd"
)

func main() {
	var c config
	listen := flag.String("listen", "127.0.0.1:2587", "address to take mail on")
	cert := flag.String("cert", "cert.pem", "file with the certificate chain")
	key := flag.String("key", "key.pem", "file with its key")
	relay := flag.String("relay", "", "host:port of the relay")
	flag.StringVar(&c.spool, "spool", "spool", "directory of the queue")
	flag.StringVar(&c.hello, "name", "smarthost.example.org", "what this host calls itself")
	flag.StringVar(&c.relay.User, "relay-user", "", "who we are to the relay")
	flag.Parse()
	c.relay.Password = os.Getenv("RELAY_PASSWORD")
	c.users = usersOf(os.Environ())
	c.agent = &remote.Agent{TLS: verified(nil)}
	if err := start(&c, *listen, *cert, *key, *relay); err != nil {
		log.Fatal(err)
	}
}

// config is what the program works by.
type config struct {
	spool, hello string
	relay        sqmail.Relay
	users        users
	tls          *tls.Config
	agent        *remote.Agent
}

// verified is a policy that sends nothing, least of all our password, to a
// relay that cannot prove its name. Nil roots are those of the system.
func verified(roots *x509.CertPool) remote.TLSPolicy {
	rule := &remote.TLSRule{Mode: remote.TLSRequired, VerifyChain: true, VerifyName: true, Roots: roots}
	return remote.TLSPolicyFunc(func(context.Context, remote.TLSTarget) (*remote.TLSRule, error) { return rule, nil })
}

// start reads what flags name, and serves until a signal comes.
func start(c *config, listen, cert, key, relay string) error {
	host, port, err := net.SplitHostPort(relay)
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return err
	}
	c.relay.Host, c.relay.Port = host, uint16(number)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	c.tls = &tls.Config{Certificates: []tls.Certificate{pair}}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return serve(ctx, l, c, slog.Default())
}

// serve takes mail on l, and delivers it, until ctx ends.
func serve(ctx context.Context, l net.Listener, c *config, log *slog.Logger) error {
	store, err := segstore.Open(c.spool, &segstore.Options{Logger: log})
	if err != nil {
		return err
	}
	defer store.Close()
	c.agent.HelloName, c.agent.Log = c.hello, log
	router := &delivery.Router{Routes: delivery.Routes{SMTP: map[string]sqmail.Relay{"": c.relay}}}
	q := &queue.Queue{Store: store, Router: router, Deliverer: c.agent, Bounces: queue.Bounces{Host: c.hello}, Log: log}
	srv := &smtpd.Server{
		HelloName:      c.hello,
		TLSConfig:      c.tls,
		StartTLS:       smtpd.Required,
		Verifier:       c.users,
		Authentication: smtpd.Required, // the default policy relays for who has
		Receiver:       q,
		Log:            log,
	}
	failed := make(chan error, 2)
	go func() { failed <- srv.Serve(l) }()
	go func() { failed <- q.Run(context.Background()) }()
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(err, srv.Shutdown(drain), q.Shutdown(drain), c.agent.Shutdown(drain))
}
