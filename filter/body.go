package filter

import (
	"context"
	"io"
	"time"

	"github.com/sqmail/sqmail"
)

// body is a message on its way to the Receiver, with the scanners that look
// at it.
type body struct {
	ctx      context.Context
	p        *Policy
	src      io.Reader
	scanning []scanning
	err      error // sticky; io.EOF only after all verdicts
}

// scanning is one filter's scanner at work.
type scanning struct {
	name string
	s    Scanner
	err  error // of Write; it decides at the end
	took time.Duration
}

func newBody(ctx context.Context, p *Policy, src io.Reader) io.Reader {
	b := &body{ctx: ctx, p: p, src: src}
	for _, f := range p.chain.Filters {
		g, ok := f.(BodyFilter)
		if !ok {
			continue
		}
		s, err := g.Body(ctx, &p.s)
		if s == nil && err == nil {
			continue
		}
		b.scanning = append(b.scanning, scanning{name: f.Name(), s: s, err: err})
	}
	if len(b.scanning) == 0 {
		return src
	}
	return b
}

// Read reads from the message and shows the scanners what was read.
func (b *body) Read(buf []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(buf)
	if n > 0 {
		b.show(buf[:n])
	}
	if err == io.EOF {
		err = b.end()
	}
	b.err = err
	return n, err
}

func (b *body) show(chunk []byte) {
	for i := range b.scanning {
		s := &b.scanning[i]
		if s.err != nil {
			continue
		}
		start := time.Now()
		_, s.err = s.s.Write(chunk)
		s.took += time.Since(start)
	}
}

// end collects the verdicts. It returns io.EOF if all let the message pass.
func (b *body) end() error {
	for i := range b.scanning {
		s := &b.scanning[i]
		start := time.Now()
		var v sqmail.Verdict
		err := s.err
		if err == nil {
			v, err = s.s.End()
		}
		v.Stage, v.Filter, v.Took = "body", s.name, s.took+time.Since(start)
		done, err := b.p.settle(b.ctx, v, err)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	return io.EOF
}

// Close frees the scanners.
func (b *body) Close() error {
	for _, s := range b.scanning {
		if s.s != nil {
			s.s.Close()
		}
	}
	return nil
}
