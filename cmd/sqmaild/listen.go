package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sqmail/sqmail/control"
	"github.com/sqmail/sqmail/pop3"
	"github.com/sqmail/sqmail/smtpd"
)

// listener is a socket with a server behind it.
type listener struct {
	name, protocol, addr string
	proxies              []netip.Prefix
	socket               net.Listener // nil for the administrators'
	stop                 func(context.Context) error
}

// is reports whether a service wants this very listener.
func (l *listener) is(s *control.Service) bool {
	return l.name == s.Name && l.protocol == s.Protocol && l.addr == s.Address && slices.Equal(l.proxies, s.ProxyFrom)
}

// hasSocket reports whether a service wants the socket of this listener, but
// another server behind it.
func (l *listener) hasSocket(s *control.Service) bool {
	return l.socket != nil && l.addr == s.Address && (l.name == s.Name || !strings.HasSuffix(l.addr, ":0"))
}

// listen opens the listeners of the configuration in force that are not open,
// and closes those that are no longer wanted. All new sockets are opened before any is closed,
// and a socket that is wanted by another server passes to that without being
// closed: no client is turned away meanwhile.
func (d *daemon) listen(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	// Asked under the lock, so that who comes late does not bring back what a
	// newer configuration has closed.
	services, before := d.now.Load().config.Services, d.listeners
	var errs []error
	for _, service := range services {
		if slices.ContainsFunc(d.listeners, func(l *listener) bool { return l.is(service) }) {
			continue
		}
		if err := d.open(ctx, service, before); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", service.File, service.Line, err))
		}
	}
	d.listeners = slices.DeleteFunc(slices.Clone(d.listeners), func(l *listener) bool {
		wanted := l.protocol == "" || slices.ContainsFunc(services, l.is)
		if !wanted {
			d.leave(ctx, l)
		}
		return !wanted
	})
	return errors.Join(errs...)
}

// leave closes a listener. Its sessions end their transactions, if the daemon
// does not end before. d.mu is held.
func (d *daemon) leave(ctx context.Context, l *listener) {
	d.log.Info("listener closed", "listener", l.name, "address", l.addr)
	if d.leaving == nil {
		d.leaving = map[*listener]bool{}
	}
	d.leaving[l] = true
	d.tasks.Go(func() {
		l.stop(context.WithoutCancel(ctx)) // stopListeners cuts it off
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.leaving, l)
	})
}

// The pauses between attempts to open a listener that could not be opened at a
// reload.
const (
	firstPause = time.Second
	mostPause  = time.Minute
)

// reopen tries listeners again that could not be opened, until ctx ends.
func (d *daemon) reopen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.unopened:
		}
		for pause := firstPause; waits(ctx, pause); pause = min(2*pause, mostPause) {
			err := d.listen(ctx)
			if err == nil {
				break
			}
			d.log.Warn("a listener cannot be opened yet", "err", err)
		}
	}
}

// waits waits, and reports whether ctx lives.
func waits(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// server is what all servers have in common.
type server interface {
	Serve(net.Listener) error
	ServeTLS(net.Listener) error
	Shutdown(context.Context) error
}

// open opens one listener and serves it.
func (d *daemon) open(ctx context.Context, service *control.Service, before []*listener) error {
	srv := d.server(service)
	ln, err := socketFor(ctx, service, before)
	if err != nil {
		return err
	}
	serve := srv.Serve
	if service.ImplicitTLS() {
		serve = srv.ServeTLS
	}
	d.listeners = append(d.listeners, &listener{service.Name, service.Protocol, service.Address, service.ProxyFrom, ln, srv.Shutdown})
	d.tasks.Go(func() {
		err := serve(ln)
		if !errors.Is(err, smtpd.ErrServerClosed) && !errors.Is(err, pop3.ErrServerClosed) {
			d.fail(fmt.Errorf("listener %s: %w", service.Name, err))
		}
	})
	d.log.Info("listening", "listener", service.Name, "protocol", service.Protocol, "address", ln.Addr().String())
	fmt.Fprintln(d.out, "listening", service.Name, service.Protocol, ln.Addr())
	return nil
}

// socketFor returns a socket for a service: a second handle of one that is open,
// or a new one.
func socketFor(ctx context.Context, service *control.Service, before []*listener) (net.Listener, error) {
	for _, l := range before {
		if tcp, ok := l.socket.(*net.TCPListener); ok && l.hasSocket(service) {
			file, err := tcp.File()
			if err != nil {
				return nil, err
			}
			defer file.Close()
			return net.FileListener(file)
		}
	}
	var config net.ListenConfig
	return config.Listen(ctx, service.Network(), service.Address)
}

// server makes the server of a service; what holds for a client is looked up
// when it connects.
func (d *daemon) server(service *control.Service) server {
	config := d.tlsConfig(service)
	if strings.HasPrefix(service.Protocol, "pop3") {
		return &pop3.Server{
			Name: service.Name, Log: d.log, TLSConfig: config, ProxyFrom: service.ProxyFrom,
			ForPeer: d.pop3ForPeer(service.Name),
		}
	}
	return &smtpd.Server{
		Name: service.Name, Log: d.smtpLog(), TLSConfig: config, ProxyFrom: service.ProxyFrom, LMTP: service.Protocol == "lmtp",
		ForPeer: d.smtpForPeer(service.Name),
	}
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
			return nil, errServiceGone
		}
		return now.TLS, nil
	}}
}
