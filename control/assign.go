package control

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/sqmail/sqmail/delivery/local"
	"github.com/sqmail/sqmail/filter"
)

// assignments are users/assign: who controls which local parts.
type assignments struct {
	exact, prefix map[string]local.User // by local part in lower case
}

// parseAssign reads the source that qmail-newu takes: lines of
//
//	=local:user:uid:gid:home:dash:ext:
//	+prefix:user:uid:gid:home:dash:pre:
//
// up to one that begins with a dot, without which the file may have been cut
// short. Of lines for the same local part the first one counts. The ids are not
// used: deliveries run as who the daemon runs as.
func parseAssign(text []byte, warn complain) *assignments {
	a := &assignments{exact: map[string]local.User{}, prefix: map[string]local.User{}}
	number := 0
	for raw := range bytes.Lines(text) {
		number++
		line := strings.TrimRight(string(raw), "\r\n")
		if strings.HasPrefix(line, ".") {
			return a
		}
		if reason := a.add(line); reason != "" {
			warn(number, true, reason)
		}
	}
	warn(0, true, "has no line with a dot at its end: it may have been cut short")
	return a
}

// add adds a line, and returns what is wrong with it.
func (a *assignments) add(line string) string {
	fields := strings.Split(line, ":")
	if len(fields) < 7 || line[0] != '=' && line[0] != '+' || strings.IndexByte(line, 0) >= 0 {
		return "is neither =local:user:uid:gid:home:dash:ext: nor +prefix:user:uid:gid:home:dash:pre:"
	}
	if !path.IsAbs(fields[4]) {
		return "its home is not an absolute path"
	}
	user := local.User{Name: fields[1], Home: fields[4], Dash: fields[5], Ext: fields[6]}
	m := a.exact
	if line[0] == '+' {
		m = a.prefix
	}
	key := lower(fields[0][1:])
	if _, known := m[key]; !known {
		m[key] = user
	}
	return ""
}

// lookup returns the exact assignment, or the one of the longest prefix with
// the rest of the local part, in its own case, behind its ext.
func (a *assignments) lookup(name string) (local.User, bool, error) {
	folded := lower(name)
	if user, found := a.exact[folded]; found {
		return user, true, nil
	}
	for i := len(folded); i >= 0; i-- {
		if user, found := a.prefix[folded[:i]]; found {
			user.Ext += name[i:]
			return user, true, nil
		}
	}
	return local.User{}, false, nil
}

// assigner knows who controls which local parts.
type assigner interface {
	lookup(name string) (user local.User, found bool, err error)
}

// assignedDB is the database that qmail-newu makes of users/assign: the key
// "!local" and a NUL for what is exact, "!prefix" for what is not, and "" for the
// last characters of the prefixes. Spec: local.md, 2.1.
type assignedDB struct{ filter.Database }

func (a assignedDB) lookup(name string) (user local.User, found bool, err error) {
	folded := lower(name)
	if user, found, err = a.user("!" + folded + "\x00"); found || err != nil {
		return user, found, err
	}
	ends, found, err := a.Get(nil)
	if err != nil || !found {
		return user, false, orError(err, errNotAssign)
	}
	for i := len(folded); i >= 0; i-- {
		if i > 0 && bytes.IndexByte(ends, folded[i-1]) < 0 {
			continue
		}
		if user, found, err = a.user("!" + folded[:i]); found || err != nil {
			user.Ext += name[i:]
			return user, found, err
		}
	}
	return local.User{}, false, nil
}

var errNotAssign = errors.New("the database was not made of users/assign")

func orError(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// user reads a record: user, uid, gid, home, dash, ext, each with a NUL behind.
func (a assignedDB) user(key string) (user local.User, found bool, err error) {
	value, found, err := a.Get([]byte(key))
	if err != nil || !found {
		return user, false, err
	}
	fields := strings.Split(string(value), "\x00")
	if len(fields) != 7 || !path.IsAbs(fields[3]) {
		return user, false, fmt.Errorf("the record %.80q is not one of users/assign", key)
	}
	return local.User{Name: fields[0], Home: fields[3], Dash: fields[4], Ext: fields[5]}, true, nil
}
