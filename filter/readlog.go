package filter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/sqmail/sqmail"
)

// transactionEvent is the message of the event that holds a Trace.
const transactionEvent = "transaction"

// LogReader finds the traces in a log, which are the attribute "trace" of the
// events "transaction": in the lines of a slog.JSONHandler or a
// slog.TextHandler, with whatever a logger puts in front of them. It reads as it
// goes, and has one line in memory, of 1 MiB at most.
type LogReader struct {
	r *bufio.Reader

	// Lines counts the lines so far, Foreign those that are no transaction,
	// other events of ours among them, and Damaged those of transactions that
	// cannot be read, and lines that are too long.
	Lines, Foreign, Damaged int64

	buf []byte
}

// NewLogReader returns a LogReader of a log.
func NewLogReader(r io.Reader) *LogReader {
	return &LogReader{r: bufio.NewReaderSize(r, 256<<10)}
}

const maxLogLine = 1 << 20

// Next returns the next Trace. The error is io.EOF at the end, or that of
// reading.
func (l *LogReader) Next() (*sqmail.Trace, error) {
	for {
		line, long, err := l.line()
		if err != nil {
			return nil, err
		}
		l.Lines++
		if long {
			l.Damaged++
			continue
		}
		t, err := parseLogLine(line)
		switch {
		case err != nil:
			l.Damaged++
		case t == nil:
			l.Foreign++
		default:
			return t, nil
		}
	}
}

// line returns the next line. One that is too long is read past.
func (l *LogReader) line() (line []byte, long bool, err error) {
	l.buf = l.buf[:0]
	for {
		piece, err := l.r.ReadSlice('\n')
		if err == nil && len(l.buf) == 0 && !long {
			return piece[:len(piece)-1], false, nil // the common case is not copied
		}
		if long = long || len(l.buf)+len(piece) > maxLogLine; !long {
			l.buf = append(l.buf, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil, err == io.EOF && (len(l.buf) > 0 || long):
			return bytes.TrimSuffix(l.buf, []byte("\n")), long, nil
		}
		return nil, false, err
	}
}

var (
	errLogLine = errors.New("filter: a transaction that cannot be read")

	jsonEvent = []byte(`"msg":"`)
	jsonMark  = []byte(`"msg":"` + transactionEvent + `"`)
	textMark  = []byte(" msg=" + transactionEvent + " ")
)

// parseLogLine returns the Trace of a line; nil if it has none.
func parseLogLine(line []byte) (*sqmail.Trace, error) {
	switch {
	case bytes.Contains(line, jsonMark):
		return parseJSONLine(line)
	case bytes.Contains(line, jsonEvent): // of another event
		return nil, nil
	case bytes.Contains(line, textMark): // perhaps in the value of something else
		return parseTextLine(string(line))
	}
	return nil, nil
}

func parseJSONLine(line []byte) (*sqmail.Trace, error) {
	start := bytes.IndexByte(line, '{')
	if start < 0 {
		return nil, nil
	}
	var event struct {
		Msg   string        `json:"msg"`
		Trace *sqmail.Trace `json:"trace"`
	}
	if err := json.Unmarshal(line[start:], &event); err != nil {
		return nil, errors.Join(errLogLine, err)
	}
	if event.Msg != transactionEvent {
		return nil, nil
	}
	return validTrace(event.Trace)
}

// parseTextLine parses attributes: key=value, the value quoted as strconv.Quote
// does if it needs that. Words without "=" are a logger's.
func parseTextLine(rest string) (*sqmail.Trace, error) {
	ours := false
	for len(rest) > 0 {
		rest = strings.TrimLeft(rest, " ")
		end := strings.IndexAny(rest, " =")
		if end < 0 {
			break
		}
		key, value := rest[:end], rest[end+1:]
		if rest[end] == ' ' {
			rest = value
			continue
		}
		text, n, err := textValue(value)
		switch {
		case err != nil && !ours:
			return nil, nil
		case err != nil:
			return nil, err
		case key == "msg":
			if ours = text == transactionEvent; !ours {
				return nil, nil
			}
		case key == "trace" && ours:
			t := new(sqmail.Trace)
			if err := json.Unmarshal([]byte(text), t); err != nil {
				return nil, errors.Join(errLogLine, err)
			}
			return validTrace(t)
		}
		rest = value[n:]
	}
	if !ours {
		return nil, nil
	}
	return nil, errLogLine
}

// textValue returns the value at the start of s, and how long it is there.
func textValue(s string) (text string, n int, err error) {
	if s == "" || s[0] != '"' {
		if n = strings.IndexByte(s, ' '); n < 0 {
			n = len(s)
		}
		return s[:n], n, nil
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		text, err = strconv.Unquote(quoted)
	}
	if err != nil {
		err = errors.Join(errLogLine, err)
	}
	return text, len(quoted), err
}

// validTrace returns t if it tells of a session.
func validTrace(t *sqmail.Trace) (*sqmail.Trace, error) {
	if t == nil {
		return nil, errLogLine
	}
	if _, _, err := factsOf(t); err != nil {
		return nil, errors.Join(errLogLine, err)
	}
	return t, nil
}
