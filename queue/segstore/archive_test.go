package segstore_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/segstore"
)

// put commits a message.
func put(t *testing.T, s queue.Store, text string, sub queue.Submission) queue.ID {
	t.Helper()
	d, err := s.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
	id, err := d.Commit(ctx, sub)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhatIsExportedCanBeImported(t *testing.T) {
	from, to := open(t, t.TempDir(), nil), &memstore.Store{}
	defer from.Close()
	put(t, from, "gone\n", queue.Submission{Envelope: dropEnvelope("0")})
	l, err := from.Lease(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	l.Done(ctx, nil)
	put(t, from, "one\n", queue.Submission{Envelope: dropEnvelope("1")})
	l, _ = from.Lease(ctx, time.Minute)
	l.Retry(ctx, []queue.Attempt{{Number: 1, At: time.Now(), Due: time.Now().Add(time.Hour)}}, time.Now().Add(time.Hour))
	put(t, from, strings.Repeat("two\n", 200_000), queue.Submission{Envelope: dropEnvelope("2"), Held: true})

	var archive bytes.Buffer
	if n, err := segstore.Export(ctx, from, &archive); n != 2 || err != nil {
		t.Fatalf("Export: %d, %v", n, err)
	}
	if n, err := segstore.Import(ctx, to, &archive); n != 2 || err != nil {
		t.Fatalf("Import: %d, %v", n, err)
	}
	for id := queue.ID(2); id <= 3; id++ {
		a, errA := from.Open(ctx, id)
		b, errB := to.Open(ctx, id-1)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		b.ID = a.ID
		x, _ := json.Marshal(a.Entry)
		y, _ := json.Marshal(b.Entry)
		if !bytes.Equal(x, y) {
			t.Errorf("exported %s\nimported %s", x, y)
		}
		p, _ := io.ReadAll(io.NewSectionReader(a.Content, 0, a.Size))
		q, _ := io.ReadAll(io.NewSectionReader(b.Content, 0, b.Size))
		if !bytes.Equal(p, q) {
			t.Error("content differs")
		}
		a.Close()
	}
}

func TestImportRefusesOtherArchives(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	w.WriteHeader(&tar.Header{Name: "passwd", Size: 1})
	w.Write([]byte("x"))
	w.Close()
	for name, in := range map[string]io.Reader{"another tar": &b, "no tar": strings.NewReader(strings.Repeat("x", 2000))} {
		if n, err := segstore.Import(ctx, &memstore.Store{}, in); n != 0 || err == nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// spoil changes an octet of a file.
func spoil(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsWhatIsDamaged(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, segstore.Quiet())
	defer s.Close()
	small := put(t, s, "small\n", queue.Submission{Envelope: dropEnvelope("1")})
	big := put(t, s, strings.Repeat("big\n", 200_000), queue.Submission{Envelope: dropEnvelope("2")})
	good := put(t, s, "good\n", queue.Submission{Envelope: dropEnvelope("3")})
	bodies, _ := filepath.Glob(filepath.Join(dir, "bodies", "*"))
	segments, _ := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	spoil(t, bodies[0], 500_000)
	spoil(t, segments[0], 8192+48+2) // in the body of the first message
	found := make(map[queue.ID]error)
	for id, err := range segstore.Verify(ctx, s) {
		found[id] = err
	}
	if len(found) != 3 || found[0] == nil || found[big] == nil || found[good] != nil {
		t.Errorf("found %v, want errors for %v (which Scan cannot read) and %v", found, small, big)
	}
	var archive bytes.Buffer
	if n, err := segstore.Export(ctx, s, &archive); n != 1 || err == nil {
		t.Errorf("Export: %d, %v, want one message, and an error for the others", n, err)
	}
}
