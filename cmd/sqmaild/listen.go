package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/pop3"
	"github.com/sqmail/sqmail/smtpd"
)

// listener is a socket with a server behind it.
type listener struct {
	name, protocol, addr string
	stop                 func(context.Context) error
}

// is reports whether a service wants this very listener.
func (l *listener) is(s *control.Service) bool {
	return l.name == s.Name && l.protocol == s.Protocol && l.addr == s.Address
}

// listen opens the listeners of services that are not open, and closes those
// that are no longer wanted. All new sockets are opened before any of them
// serves.
func (d *daemon) listen(ctx context.Context, services []*control.Service) error {
	var errs []error
	for _, service := range services {
		if slices.ContainsFunc(d.listeners, func(l *listener) bool { return l.is(service) }) {
			continue
		}
		if err := d.open(ctx, service); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", service.File, service.Line, err))
		}
	}
	d.listeners = slices.DeleteFunc(d.listeners, func(l *listener) bool {
		wanted := l.protocol == "" || slices.ContainsFunc(services, l.is)
		if !wanted {
			d.log.Info("listener closed", "listener", l.name, "address", l.addr)
			d.tasks.Go(func() { l.stop(context.WithoutCancel(ctx)) })
		}
		return !wanted
	})
	return errors.Join(errs...)
}

// server is what all servers have in common.
type server interface {
	Serve(net.Listener) error
	ServeTLS(net.Listener) error
	Shutdown(context.Context) error
}

// open opens one listener and serves it.
func (d *daemon) open(ctx context.Context, service *control.Service) error {
	srv, err := d.server(service)
	if err != nil {
		return err
	}
	var config net.ListenConfig
	ln, err := config.Listen(ctx, "tcp", service.Address)
	if err != nil {
		return err
	}
	serve := srv.Serve
	if service.ImplicitTLS() {
		serve = srv.ServeTLS
	}
	d.listeners = append(d.listeners, &listener{service.Name, service.Protocol, service.Address, srv.Shutdown})
	d.tasks.Go(func() {
		err := serve(ln)
		if !errors.Is(err, smtpd.ErrServerClosed) && !errors.Is(err, pop3.ErrServerClosed) {
			d.fail(fmt.Errorf("listener %s: %w", service.Name, err))
		}
	})
	fmt.Fprintln(d.out, "listening", service.Name, service.Protocol, ln.Addr())
	return nil
}

// server makes the server of a service; what holds for a client is looked up
// when it connects.
func (d *daemon) server(service *control.Service) (server, error) {
	config := d.tlsConfig(service)
	switch {
	case strings.HasPrefix(service.Protocol, "pop3"):
		return &pop3.Server{Name: service.Name, Log: d.log, TLSConfig: config, ForPeer: d.pop3ForPeer(service.Name)}, nil
	case strings.HasPrefix(service.Protocol, "qm"):
		return nil, permanentError{fmt.Errorf("protocol %s is not served yet", service.Protocol)}
	}
	return &smtpd.Server{Name: service.Name, Log: d.log, TLSConfig: config, ForPeer: d.smtpForPeer(service.Name)}, nil
}

// tlsConfig makes each handshake use the certificate of the configuration in
// force. It is nil for a service without TLS.
func (d *daemon) tlsConfig(service *control.Service) *tls.Config {
	if service.TLS == nil {
		return nil
	}
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := d.now.Load().services[service.Name]
		if now == nil || now.TLS == nil {
			return nil, errors.New("the service has gone from the configuration")
		}
		return now.TLS, nil
	}}
}
