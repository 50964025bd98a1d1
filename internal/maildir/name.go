package maildir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A stamp makes the name of one delivery unique: time, process, a count within
// the process, and host.
type stamp struct {
	at    time.Time
	pid   int
	count uint64
	host  string
}

// temporary is the name in tmp.
func (s stamp) temporary() string {
	return fmt.Sprintf("%d.M%06dP%d_%d.%s", s.at.Unix(), s.at.Nanosecond()/1000, s.pid, s.count, s.host)
}

// final is the name in new. The inode number, which no other file of that file
// system has at this time, makes clashes impossible even between processes
// that cannot see each other.
func (s stamp) final(inode, device uint64) string {
	return fmt.Sprintf("%d.I%xV%xM%06dP%d_%d.%s",
		s.at.Unix(), inode, device, s.at.Nanosecond()/1000, s.pid, s.count, s.host)
}

// maxHost bounds a host's name within a file name.
const maxHost = 64

// hostEscaper maps what a file name cannot hold, or what a reader of maildirs
// would take for the start of the flags or of a field.
var hostEscaper = strings.NewReplacer("/", `\057`, ":", `\072`, ",", `\054`)

// hostName returns host, or this machine's name, as it stands in file names.
func hostName(host string) string {
	if host == "" {
		host, _ = os.Hostname()
	}
	if len(host) > maxHost {
		host = host[:maxHost]
	}
	clean := func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}
	if host = hostEscaper.Replace(strings.Map(clean, host)); host == "" {
		return "localhost"
	}
	return host
}

// base returns the part of a file's name that never changes: what stands
// before the flags.
func base(name string) string {
	before, _, _ := strings.Cut(name, ":")
	return before
}

// maxUniqueID is the longest unique-id of POP3 (RFC 1939, 7).
const maxUniqueID = 70

// uniqueID returns a name's base, or, if that is not a unique-id of RFC 1939, 7,
// a hash of it.
func uniqueID(name string) string {
	id := base(name)
	valid := id != "" && len(id) <= maxUniqueID
	for i := range len(id) {
		valid = valid && id[i] >= '!' && id[i] <= '~'
	}
	if valid {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:48]
}

// sizeField returns the number that a name gives in a field such as "W", or
// -1.
func sizeField(name, field string) int64 {
	fields := strings.Split(base(name), ",")
	for _, f := range fields[1:] {
		if digits, found := strings.CutPrefix(f, field+"="); found {
			n, err := strconv.ParseUint(digits, 10, 63)
			if err != nil {
				return -1
			}
			return int64(n)
		}
	}
	return -1
}
