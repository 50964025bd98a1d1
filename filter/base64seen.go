package filter

// Base64Detector is a writer that finds out whether the message that is
// written to it has a base64 part with something in it. The zero value is
// ready. Spec: filter.md, 10 and 12.
type Base64Detector struct {
	lines base64Lines
	found bool
}

// Write looks at a piece of a message.
func (d *Base64Detector) Write(p []byte) (int, error) {
	if d.lines.to == nil {
		d.lines.to = []base64Reader{(*detection)(d)}
	}
	if !d.found {
		d.lines.write(p)
	}
	return len(p), nil
}

// Found reports whether there was one so far.
func (d *Base64Detector) Found() bool { return d.found }

// detection is a detector that is told of parts.
type detection Base64Detector

func (d *detection) begin()            { d.found = true }
func (d *detection) text([]byte, bool) {}
