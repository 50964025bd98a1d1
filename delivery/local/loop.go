package local

import (
	"bufio"
	"bytes"
	"io"
	"strings"
)

// maxHops is how many Received and Delivered-To fields a message may have.
const maxHops = 100

// checkLoop refuses a message that was delivered to this recipient before, or
// by too many hosts (RFC 5321, 6.3). Addresses are compared without regard to
// case, as the search for their file is.
func (j *job) checkLoop() error {
	hops := 0
	looping := false
	err := fields(j.body(), func(field string) {
		name, value, found := strings.Cut(field, ":")
		if !found {
			return
		}
		switch strings.ToLower(strings.TrimRight(name, " \t")) {
		case "received":
			hops++
		case "delivered-to":
			hops++
			looping = looping || strings.EqualFold(strings.TrimSpace(value), strings.TrimSpace(oneLine(j.address())))
		}
	})
	switch {
	case err != nil:
		return fail(err, "Unable to read message: %s. (#4.3.0)", reason(err))
	case looping:
		return fail(nil, "This message is looping: it already has my Delivered-To line. (#5.4.6)")
	case hops > maxHops:
		return fail(nil, "This message is looping: it has passed too many hosts. (#5.4.6)")
	}
	return nil
}

// maxField is how much of a header field is looked at.
const maxField = 4096

// fields calls yield for each field of a message's header, unfolded, and cut
// at maxField octets.
func fields(r io.Reader, yield func(field string)) error {
	br := bufio.NewReaderSize(r, maxField)
	var field []byte
	for {
		line, err := br.ReadSlice('\n')
		long := err == bufio.ErrBufferFull
		if err != nil && err != io.EOF && !long {
			return err
		}
		folded := len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		text := bytes.TrimRight(line, "\r\n")
		if !folded && len(field) > 0 {
			yield(string(field))
			field = field[:0]
		}
		if len(text) == 0 {
			return nil
		}
		field = append(field, text[:min(len(text), maxField-len(field))]...)
		for long && err == bufio.ErrBufferFull {
			_, err = br.ReadSlice('\n')
		}
		if err == io.EOF {
			yield(string(field))
			return nil
		}
		if err != nil {
			return err
		}
	}
}
