package filter

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sqmail/sqmail"
)

// body is a message on its way to the Receiver, with the scanners that look
// at it.
type body struct {
	ctx      bodyContext // of the scanners
	p        *Policy
	src      io.Reader
	scanning []scanning
	err      error // sticky; io.EOF only after all verdicts
}

// scanning is one filter's scanner at work.
type scanning struct {
	name     string
	s        Scanner // nil: the filter does not look at this message
	err      error   // of Write; it decides at the end
	took     time.Duration
	question string // to an OutsideFilter
}

func newBody(ctx context.Context, p *Policy, src io.Reader) io.Reader {
	filters := p.chain.at(atBody)
	if len(filters) == 0 {
		return src
	}
	b := &body{p: p, src: src, scanning: make([]scanning, 0, len(filters))}
	b.ctx.Context = p.rec.in(ctx)
	for _, f := range filters {
		sc := scanning{name: f.Name()}
		if p.rec != nil {
			sc.question = p.question(f, "body", "")
		}
		if replays := p.rec != nil && p.rec.replay && sc.question != ""; !replays {
			sc.s, sc.err = f.(BodyFilter).Body(&b.ctx, &p.s)
		}
		if sc.s != nil || sc.err != nil || sc.question != "" {
			b.scanning = append(b.scanning, sc)
		}
	}
	b.share()
	if len(b.scanning) == 0 {
		b.ctx.close()
		return src
	}
	return b
}

// share lets those that look for signatures split the message into lines once.
func (b *body) share() {
	var leader *signatureScanner
	for _, sc := range b.scanning {
		switch c, ok := sc.s.(*signatureScanner); {
		case !ok || sc.err != nil:
		case leader == nil:
			leader = c
		default:
			c.follow(leader)
		}
	}
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
	begin, before := time.Now(), time.Duration(0)
	for i := range b.scanning {
		s := &b.scanning[i]
		if s.err != nil || s.s == nil {
			continue
		}
		_, s.err = s.s.Write(chunk)
		if c, ok := s.s.(*signatureScanner); ok && c.behind != nil {
			continue // its work is done, and its time counted, with the other's
		}
		now := time.Since(begin)
		s.took += now - before
		before = now
	}
}

// end collects the verdicts. It returns io.EOF if all let the message pass.
func (b *body) end() error {
	defer func() { b.p.rec.flush(b.p.s.Peer.Trace, false) }()
	b.ctx.ending()
	defer b.ctx.stop()
	for i := range b.scanning {
		s := &b.scanning[i]
		start := time.Now()
		v, err := b.verdict(s)
		v.Stage, v.Filter, v.Took = "body", s.name, s.took+time.Since(start)
		done, err := b.p.settle(&b.ctx, v, err)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	return io.EOF
}

// verdict is what one scanner says, or has said.
func (b *body) verdict(s *scanning) (v sqmail.Verdict, err error) {
	if rec := b.p.rec; s.question != "" && rec != nil && rec.replay {
		return b.p.replayed(s.question), nil
	}
	if err = s.err; err == nil && s.s != nil {
		v, err = s.s.End()
	}
	if err != nil && b.ctx.late() {
		err = fmt.Errorf("%w: %w", errEndTime, err)
	}
	v, err = b.p.judged(v, err)
	b.p.record(s.question, v)
	return v, err
}

// Close frees the scanners.
func (b *body) Close() error {
	for _, s := range b.scanning {
		if s.s != nil {
			s.s.Close()
		}
	}
	b.scanning = nil
	b.ctx.close()
	return nil
}
