package resolver

import (
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"
)

// Limits of a name: RFC 1035, 2.3.4. A name of 255 octets on the wire has 254
// in print, with the dot at the end.
const (
	maxName  = 254
	maxLabel = 63

	// maxUnicodeName bounds what is worth turning into A-labels.
	maxUnicodeName = 4 * maxName
)

// lookupProfile maps a U-label to the A-label that IDNA2008 gives it.
var lookupProfile = idna.New(
	idna.MapForLookup(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
)

// toQuery returns name as it is asked for: A-labels, lower case, absolute, in
// the presentation form that the codec gives to names it has read.
func toQuery(name string) (string, error) {
	if len(name) > maxUnicodeName {
		return "", errInvalidName
	}
	if !isASCII(name) {
		ascii, err := lookupProfile.ToASCII(name)
		if err != nil {
			return "", errInvalidName
		}
		name = ascii
	}
	name = strings.ToLower(strings.TrimSuffix(name, ".")) + "."
	if isPlain(name) {
		if !validPlain(name) {
			return "", errInvalidName
		}
		return name, nil
	}
	return escaped(name)
}

// isPlain reports whether no character of name has a meaning in print.
func isPlain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func validPlain(name string) bool {
	if len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
	}
	return true
}

// escaped returns the presentation form of a name with odd characters, such as
// macros of SPF make from local parts. Each octet stands for itself.
func escaped(name string) (string, error) {
	if len(name) > maxName {
		return "", errInvalidName
	}
	var wire [maxName + 2]byte
	end, err := dns.PackDomainName(strings.ReplaceAll(name, `\`, `\\`), wire[:], 0, nil, false)
	if err != nil {
		return "", errInvalidName
	}
	printed, _, err := dns.UnpackDomainName(wire[:end], 0)
	if err != nil {
		return "", errInvalidName
	}
	return printed, nil
}

// isHost reports whether a name in an answer can be a host's. Others are left
// out, so that no caller meets a name with blanks or brackets in it.
func isHost(name string) bool {
	lower := strings.ToLower(name)
	return isPlain(lower) && validPlain(lower)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
