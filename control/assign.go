package control

import (
	"bytes"
	"path"
	"strings"

	"github.com/sqmail/sqmail/delivery/local"
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
func parseAssign(file string, text []byte) (*assignments, []Problem) {
	a := &assignments{exact: map[string]local.User{}, prefix: map[string]local.User{}}
	var problems []Problem
	number := 0
	for raw := range bytes.Lines(text) {
		number++
		line := strings.TrimRight(string(raw), "\r\n")
		if strings.HasPrefix(line, ".") {
			return a, problems
		}
		if reason := a.add(line); reason != "" {
			problems = append(problems, Problem{file, number, reason, true})
		}
	}
	return a, append(problems, Problem{file, 0, "has no line with a dot at its end: it may have been cut short", true})
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
func (a *assignments) lookup(name string) (local.User, bool) {
	folded := lower(name)
	if user, found := a.exact[folded]; found {
		return user, true
	}
	for i := len(folded); i >= 0; i-- {
		if user, found := a.prefix[folded[:i]]; found {
			user.Ext += name[i:]
			return user, true
		}
	}
	return local.User{}, false
}
