package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
)

// BenchmarkScheduler measures messages of 4 KiB from the store through the
// scheduler to a Deliverer that throws them away.
func BenchmarkScheduler(b *testing.B) {
	for _, destinations := range []int{1, 1000} {
		b.Run(fmt.Sprintf("destinations=%d", destinations), func(b *testing.B) {
			benchmarkScheduler(b, destinations)
		})
	}
}

func benchmarkScheduler(b *testing.B, destinations int) {
	store := &memstore.Store{}
	var n atomic.Int64
	all := make(chan struct{})
	q := &queue.Queue{
		Store: store,
		Deliverer: queue.DelivererFunc(func(_ context.Context, m *sqmail.Message) ([]sqmail.Outcome, error) {
			if n.Add(1) == int64(b.N) {
				close(all)
			}
			return []sqmail.Outcome{{Class: sqmail.Accepted}}, nil
		}),
	}
	body := strings.Repeat("0123456789abcde\n", 256)
	for i := range b.N {
		env := envelope("s@x.test", fmt.Sprintf("r@d%d.test", i%destinations))
		if _, err := q.Receive(context.Background(), env, strings.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	go q.Run(context.Background())
	<-all
	if err := q.Shutdown(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
