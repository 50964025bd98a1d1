package transfer

import "github.com/sqmail/sqmail/internal/spoolfs"

// OpenLedgerOn is OpenLedger on another file system.
func OpenLedgerOn(fs spoolfs.FS, path string) (*Ledger, error) { return openLedger(fs, path) }

// SetBatch makes the batches smaller.
func (im *Importer) SetBatch(n int) { im.batch = n }
