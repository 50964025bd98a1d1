package filter_test

import (
	"bytes"
	"io"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/sqmail/sqmail"
	"github.com/sqmail/sqmail/filter"
)

// logOf writes stories as both handlers do, among other lines.
func logOf(list ...*sqmail.Trace) string {
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		log := slog.New(h)
		log.Info("refused", "session", "1", "err", `" msg=transaction trace="`)
		for _, tr := range list {
			log.Info("transaction", "session", "a b", "hello", `x" trace="{}`, "trace", tr)
		}
		out.WriteString("\nqmail-smtpd: pid 7 Accept::RCPT\n")
	}
	return out.String()
}

func TestLogReaderFindsStories(t *testing.T) {
	chain := &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org")}}
	want := []*sqmail.Trace{lived(t, chain, unknownClient, "a@b.test", "joe@example.org"), lived(t, chain, unknownClient, "", "\"a b\"@example.net")}
	text := logOf(want...)
	stamped := "@4000000037c219bf2ef02e94 " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n<30>Nov 20 host sqmaild[1]: ")
	damaged := `{"msg":"transaction","trace":{"steps":[` + "\n" + `time=x msg=transaction trace="{` + "\n" +
		`{"msg":"transaction","trace":{"steps":[],"x":"` + strings.Repeat("x", 2<<20) + "\"}}\n" + `{"msg":"transaction"}` + "\n"
	for name, in := range map[string]string{"plain": text, "stamped": stamped, "damaged": damaged + text, "no end": strings.TrimSuffix(text, "\n")} {
		l := filter.NewLogReader(strings.NewReader(in))
		var got []*sqmail.Trace
		for {
			tr, err := l.Next()
			if err != nil {
				break
			}
			got = append(got, tr)
		}
		if len(got) != 4 {
			t.Errorf("%s: %d stories in %d lines, %d foreign, %d damaged", name, len(got), l.Lines, l.Foreign, l.Damaged)
			continue
		}
		for i, tr := range got {
			w := *want[i%2]
			w.Time, tr.Time = w.Time.Round(0), w.Time.Round(0)
			if !reflect.DeepEqual(tr, &w) {
				t.Errorf("%s, %d:\ngot  %v\nwant %v", name, i, tr, &w)
			}
		}
		if wantDamaged := int64(strings.Count(name, "damaged") * 4); l.Damaged != wantDamaged || l.Lines != l.Foreign+l.Damaged+4 || l.Foreign < 4 {
			t.Errorf("%s: %d lines, %d foreign, %d damaged", name, l.Lines, l.Foreign, l.Damaged)
		}
	}
}

// FuzzLogReader: whatever stands in a log, a line is counted once, and what is
// found can be replayed.
func FuzzLogReader(f *testing.F) {
	chain := &filter.Chain{Filters: []filter.Filter{hosts(1, "example.org")}}
	f.Add(logOf(lived(f, chain, unknownClient, "a@b.test", "joe@example.org")))
	f.Add(`{"msg":"transaction","trace":{"remote":"[::1]:1","steps":[{"stage":"connect","reply":{"code":554}},{"stage":"body"}]}}`)
	f.Add("x msg=transaction a=\"\\n\" trace=\"{\\\"steps\\\":[{\\\"stage\\\":\\\"recipient\\\",\\\"input\\\":\\\"a\\\"}]}\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		l := filter.NewLogReader(strings.NewReader(text))
		found := int64(0)
		for {
			tr, err := l.Next()
			if err != nil {
				break
			}
			found++
			if _, err := chain.Replay(t.Context(), tr, filter.Limits{MaxRecipients: 2, MaxBytes: 9}); err != nil {
				t.Errorf("%v: %v", tr, err)
			}
		}
		lines := int64(strings.Count(text, "\n"))
		if text != "" && !strings.HasSuffix(text, "\n") {
			lines++
		}
		if l.Lines != lines || found+l.Foreign+l.Damaged != lines {
			t.Errorf("%d lines: %d, %d found, %d foreign, %d damaged", lines, l.Lines, found, l.Foreign, l.Damaged)
		}
	})
}

// repeated is a log of any length.
type repeated struct {
	text string
	left int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.left == 0 {
			return 0, io.EOF
		}
		r.left--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestLogReaderHoldsALine: 64 MB of other lines, and lines that are far too
// long, take no more memory than one line may.
func TestLogReaderHoldsALine(t *testing.T) {
	line := `time=2026-11-20T18:00:00Z level=INFO msg="message accepted" session=x id=7 from=a@b.test` + "\n"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l := filter.NewLogReader(io.MultiReader(
		&repeated{text: strings.Repeat(line, 100), left: 4000},
		&repeated{text: strings.Repeat("x", 1000), left: 30_000}, strings.NewReader("\n"+line)))
	if tr, err := l.Next(); err != io.EOF {
		t.Fatal(tr, err)
	}
	runtime.ReadMemStats(&after)
	if l.Lines != 400_002 || l.Damaged != 1 || l.Foreign != 400_001 {
		t.Errorf("%d lines, %d damaged, %d foreign", l.Lines, l.Damaged, l.Foreign)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("%d octets", used)
	}
}
