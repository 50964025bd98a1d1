package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strconv"

	"github.com/sqmail/sqmail/queue"
)

// Item is a message on its way.
type Item struct {
	// Name is what reports call it.
	Name string

	// Key tells it from all other messages.
	Key Key

	// Submission is what the queue has to know.
	Submission queue.Submission

	// Content is the message. It is valid until the next item is asked for.
	Content io.Reader
}

// Key tells a message from all others, in all queues.
type Key [16]byte

// KeyOf returns the key of a message that has an identity like no other.
func KeyOf(identity string) (k Key) {
	sum := sha256.Sum256([]byte(identity))
	copy(k[:], sum[:])
	return k
}

// KeyOfEntry returns the key of a message in a queue: of its number, its time
// of arrival, its sender and its size.
func KeyOfEntry(e *queue.Entry) Key {
	return KeyOf("sqmail\x00" + e.ID.String() + "\x00" + strconv.FormatInt(e.Arrived.UnixNano(), 10) + "\x00" +
		strconv.FormatInt(e.Size, 10) + "\x00" + e.Envelope.ReversePath.String())
}

// String returns the key in hexadecimal.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// MarshalText returns the key in hexadecimal.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(k) {
		return errors.New("transfer: malformed key")
	}
	copy(k[:], b)
	return nil
}
