package sqmail_test

import (
	"log/slog"
	"testing"

	"github.com/sqmail/sqmail"
)

// BenchmarkTrace keeps a story of two recipients and logs it as JSON.
func BenchmarkTrace(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(discardWriter{}, nil))
	b.ReportAllocs()
	for b.Loop() {
		log.Info("transaction", "trace", told().Ended(&sqmail.Peer{Session: "s"}, nil))
	}
}

type discardWriter struct{}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
