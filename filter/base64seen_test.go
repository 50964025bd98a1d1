package filter_test

import (
	"io"
	"testing"

	"github.com/sqmail/sqmail/filter"
)

func TestBase64PartsAreDetected(t *testing.T) {
	for message, want := range map[string]bool{
		"":                                 false,
		"Subject: x\n\nTVqQAAMAAAAEAAAA\n": false,
		"Content-Transfer-Encoding: base64\n\nTVqQAAMA\n":              true,
		"CONTENT-TRANSFER-ENCODING:\n BASE64\nX: y\n\n\nTVqQAAMA\n":    true,
		"Content-Transfer-Encoding: base64\n\n":                        false,
		"Content-Transfer-Encoding: base64\n--b\n\nTVqQAAMA\n":         false,
		"Content-Transfer-Encoding: quoted-printable\n\nTVqQAAMA\n":    false,
		"X: y\n\n--b\nContent-Transfer-Encoding: base64\n\nTVqQ\n--b-": true,
	} {
		var d filter.Base64Detector
		for i := range len(message) {
			io.WriteString(&d, message[i:i+1])
		}
		if d.Found() != want {
			t.Errorf("%q: %v", message, d.Found())
		}
	}
}
