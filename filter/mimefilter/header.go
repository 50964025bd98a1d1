package mimefilter

import (
	"bytes"
	"slices"
	"strings"
)

// header gathers those fields of a header that tell of the content.
type header struct {
	size  int    // of the whole header so far
	lines int    // of the present field
	field string // the name of the present field, if it is one of these

	value []byte // of the present field, unfolded
	buffers
}

// buffers are what a header is taken apart in. They serve one header after the
// other.
type buffers struct {
	types, dispositions, encoded []string
	words                        []string // types, in lower case
	params                       []param
	values                       []string
}

// emptied returns the buffers for the next message, with nothing in them. They
// are not kept if there was much.
func (b *buffers) emptied() buffers {
	return buffers{
		emptied(b.types), emptied(b.dispositions), emptied(b.encoded), emptied(b.words), emptied(b.params), emptied(b.values),
	}
}

// again returns the buffers for the next header.
func (b *buffers) again() buffers {
	return buffers{b.types[:0], b.dispositions[:0], b.encoded[:0], b.words[:0], b.params[:0], b.values[:0]}
}

func emptied[T any](list []T) []T {
	if cap(list) > 32 {
		return nil
	}
	clear(list[:cap(list)])
	return list[:0]
}

func (h *header) reset() { *h = header{value: h.value[:0], buffers: h.again()} }

// add takes a line.
func (h *header) add(line []byte) {
	if h.lines++; line[0] == ' ' || line[0] == '\t' {
		if h.field != "" {
			h.value = append(h.value, line...)
		}
		return
	}
	h.endField()
	h.lines = 1
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return
	}
	name := bytes.TrimRight(line[:colon], " \t")
	for _, known := range fields {
		if len(name) == len(known) && strings.EqualFold(string(name), known) {
			h.field = known
			h.value = append(h.value[:0], line[colon+1:]...)
		}
	}
}

// fields are those that matter.
var fields = [...]string{"content-type", "content-disposition", "content-transfer-encoding"}

// endField ends the present field.
func (h *header) endField() {
	if h.field == "" {
		return
	}
	value := string(h.value)
	switch h.field {
	case "content-type":
		h.types = append(h.types, value)
	case "content-disposition":
		h.dispositions = append(h.dispositions, value)
	case "content-transfer-encoding":
		h.encoded = append(h.encoded, value)
	}
	h.field, h.value = "", h.value[:0]
}

// content is what a header says.
type content struct {
	types       []string // at least one
	noType      bool     // that one is the default
	encoding    string
	encodings   bool // there are several that differ
	disposition string
	boundary    string
	names       []string
}

func (c *content) has(prefix string) bool {
	return slices.ContainsFunc(c.types, func(t string) bool { return strings.HasPrefix(t, prefix) })
}

// maxBoundary is the longest boundary that we follow: RFC 2046, 5.1.1 has 70
// octets, and there are those that write more.
const maxBoundary = 256

// content makes sense of the fields. why says what is wrong if that is not
// possible.
func (h *header) content() (c content, why string) {
	h.endField()
	var r readings
	c.types = h.words
	for i, fields := range [][]string{h.types, h.dispositions} {
		for _, field := range fields {
			word, params, why := parseField(field, h.params[:0])
			if h.params = params; why != "" {
				return c, why
			}
			if i == 0 && word != "" {
				c.types = append(c.types, word)
			} else if i == 1 && c.disposition == "" {
				c.disposition = word
			}
			h.values = join(h.values[:0], params, "name", "filename")
			for _, name := range h.values {
				r.add(name)
			}
			if slices.ContainsFunc(params, func(p param) bool { return p.name == "boundary" && p.value == "" }) {
				return c, "empty boundary" // some take every line of two hyphens for a delimiter then
			}
			h.values = join(h.values[:0], params, "boundary")
			if why := c.bound(h.values); why != "" {
				return c, why
			}
		}
	}
	for _, field := range h.encoded {
		// Parts that are encoded in one reading and not in the other are
		// looked at as those that are not.
		word := strings.ToLower(firstWord(field))
		c.encodings = c.encodings || c.encoding != "" && word != c.encoding
		if c.encoding == "" || word != "base64" && word != "quoted-printable" {
			c.encoding = word
		}
	}
	if len(c.types) == 0 {
		c.types, c.noType = append(c.types, "text/plain"), true
	}
	h.words = c.types
	c.names = r.names
	return c, r.why
}

// bound sets the boundary. The first word of one without quotes will do: lines
// that begin with more of it begin with that, too.
func (c *content) bound(boundaries []string) (why string) {
	for _, b := range boundaries {
		b = strings.TrimRight(b, " \t")
		switch {
		case b == "":
		case len(b) > maxBoundary:
			return "boundary too long"
		case c.boundary == "" || strings.HasPrefix(c.boundary, b):
			c.boundary = b
		case !strings.HasPrefix(b, c.boundary):
			return "two boundaries"
		}
	}
	return ""
}
