package spoolfs

// Syncer syncs files, one at a time, where the system lets it in the
// background: a goroutine that waits in [File.Datasync] keeps others from
// running until the scheduler finds out, and on a machine of few processors
// which syncs thousands of times a second that is a good part of the time.
//
// The zero Syncer is ready. It must be closed if it was used.
type Syncer struct {
	b    *background // nil: not made yet
	none bool        // there is no background
	call syscalls    // nil: the kernel's; tests have others
}

// Datasync is f.Datasync, with its errors.
func (s *Syncer) Datasync(f File) error {
	disk, ok := f.(diskFile)
	if !ok || s.none {
		return f.Datasync()
	}
	if s.b == nil {
		b, err := newBackground(s.call)
		if err != nil { // the system has none, forbids it or has no more
			s.none = true
			return f.Datasync()
		}
		s.b = b
	}
	began, err := s.b.datasync(disk)
	if !began {
		s.Close()
		s.none = true
		return f.Datasync()
	}
	if err != nil {
		s.Close() // whatever is left of it is not taken for the next one's end
	}
	return err
}

// Close frees what the Syncer has of the system. It can be used again.
func (s *Syncer) Close() {
	if s.b != nil {
		s.b.close()
		s.b = nil
	}
}
