package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sqmail/sqmail/queue"
	"github.com/sqmail/sqmail/queue/memstore"
	"github.com/sqmail/sqmail/queue/transfer"
)

func Example() {
	ctx := context.Background()
	from, to := &memstore.Store{}, &memstore.Store{}
	queue.Import(ctx, from, queue.Submission{Envelope: envelope("joe@example.net")}, strings.NewReader("Subject: hi\n\nhello\n"))

	// Export: from a queue to a stream.
	var stream bytes.Buffer
	w := transfer.NewWriter(&stream)
	for e, err := range from.Scan(ctx) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		m, _ := from.Open(ctx, e.ID)
		w.Write(m.Entry, m.Content)
		m.Close()
	}
	w.Close()

	// Import: from the stream to another queue, twice.
	dir, _ := os.MkdirTemp("", "transfer")
	defer os.RemoveAll(dir)
	ledger, _ := transfer.OpenLedger(filepath.Join(dir, "imported"))
	defer ledger.Close()
	im := &transfer.Importer{Target: transfer.ToStore(to), Ledger: ledger}
	for range 2 {
		result, err := im.Import(ctx, transfer.Read(bytes.NewReader(stream.Bytes())))
		fmt.Println(result[transfer.Imported], "imported,", result[transfer.Known], "known before", err)
	}
	// Output:
	// 1 imported, 0 known before <nil>
	// 0 imported, 1 known before <nil>
}
