package local

import "strings"

// environ returns the variables of a program, on top of those that all
// programs have.
func (j *job) environ(base []string) []string {
	user := j.plan.User
	path := j.to.Path
	vars := [][2]string{
		{"USER", user.Name},
		{"HOME", user.Home},
		{"LOCAL", path.LocalPart()},
		{"HOST", path.Domain},
		{"RECIPIENT", j.address()},
		{"EXT", user.Ext},
		{"SENDER", j.message.Envelope.ReversePath.Unquoted()},
		{"NEWSENDER", j.plan.ReversePath.Unquoted()},
		{"DTLINE", j.deliveredTo()},
		{"RPLINE", j.returnPath()},
		{"UFLINE", j.fromLine()},
	}
	for ext, n := user.Ext, 2; n <= 4; n++ {
		_, ext, _ = strings.Cut(ext, "-")
		vars = append(vars, [2]string{"EXT" + digit(n), ext})
	}
	for host, n := path.Domain, 2; n <= 4; n++ {
		if dot := strings.LastIndexByte(host, '.'); dot >= 0 {
			host = host[:dot]
		}
		vars = append(vars, [2]string{"HOST" + digit(n), host})
	}
	if j.plan.HasDefault {
		vars = append(vars, [2]string{"DEFAULT", j.plan.Default})
	}
	env := append([]string(nil), base...)
	for _, v := range vars {
		env = append(env, v[0]+"="+strings.ReplaceAll(v[1], "\x00", "_"))
	}
	return env
}

func digit(n int) string { return string(rune('0' + n)) }
