package queue_test

import (
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue"
)

// The test vectors of spec/queue.md 4: age at the attempt, age when due again.
func TestQuadraticVectors(t *testing.T) {
	ages := []int{-5, 0, 1, 99, 100, 101, 399, 400, 405, 3600, 86400, 604800}
	want := map[string][]int{
		"local":  {100, 100, 121, 361, 400, 400, 841, 900, 900, 4900, 91809, 619369},
		"remote": {400, 400, 441, 841, 900, 900, 1521, 1600, 1600, 6400, 97969, 635209},
		"other":  {400, 400, 441, 841, 900, 900, 1521, 1600, 1600, 6400, 97969, 635209},
	}
	born := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for channel, due := range want {
		for i, age := range ages {
			started := born.Add(time.Duration(age) * time.Second)
			got := queue.Quadratic{}.Next(channel, born, started, 1).Sub(born)
			if got != time.Duration(due[i])*time.Second {
				t.Errorf("%s, age %d: due at %v, want %ds", channel, age, got, due[i])
			}
		}
	}
}

func TestSchedules(t *testing.T) {
	born := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		schedule queue.Schedule
		attempts int
		want     time.Duration // after the attempt
	}{
		{"exponential: first", queue.Exponential{}, 1, time.Minute},
		{"exponential: second", queue.Exponential{}, 2, 2 * time.Minute},
		{"exponential: third", queue.Exponential{First: time.Second, Factor: 3}, 3, 9 * time.Second},
		{"exponential: limit", queue.Exponential{}, 10, 6 * time.Hour},
		{"exponential: no overflow", queue.Exponential{}, 100_000, 6 * time.Hour},
		{"fixed: none", queue.Fixed{}, 7, 15 * time.Minute},
		{"fixed: first", queue.Fixed{time.Minute, time.Hour}, 1, time.Minute},
		{"fixed: last", queue.Fixed{time.Minute, time.Hour}, 2, time.Hour},
		{"fixed: beyond", queue.Fixed{time.Minute, time.Hour}, 9, time.Hour},
		{"own", queue.ScheduleFunc(func(_ string, _, started time.Time, n int) time.Time {
			return started.Add(time.Duration(n) * time.Second)
		}), 5, 5 * time.Second},
		{"quadratic: own numbers", queue.Quadratic{Local: 1, Remote: 2}, 1, 4 * time.Second},
	}
	for _, tt := range tests {
		if got := tt.schedule.Next("remote", born, born, tt.attempts).Sub(born); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
