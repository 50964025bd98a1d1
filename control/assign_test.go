package control

import (
	"strings"
	"testing"
)

func FuzzParseAssign(f *testing.F) {
	f.Add("=joe:joe:507:100:/home/joe:::\n+joe-:joe:507:100:/home/joe:-::\n+:alias:7790:2108:/q/alias:-::\n.\n", "joe-x")
	f.Add("=:::::::::\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		problems := 0
		a := parseAssign([]byte(text), func(int, bool, string) { problems++ })
		user, found, _ := a.lookup(name)
		if found && !strings.HasPrefix(user.Home, "/") {
			t.Fatalf("%+v", user)
		}
		if problems == 0 && !strings.HasPrefix(text, ".") && !strings.Contains(text, "\n.") {
			t.Fatal("a file without end was taken")
		}
	})
}
