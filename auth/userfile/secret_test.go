package userfile

import (
	"strings"
	"testing"

	"github.com/sqmail/sqmail/auth"
)

// Made by crypt(3) of a Linux system for "open sesame".
var systemHashes = map[string]string{
	"2b":               "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
	"2y":               "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW",
	"5 with rounds":    "$5$rounds=1400$anotherlongsalts$y9/vYV8oUKplrnk6RiHlLDLj8VdTqjmX9lbSAshFl.1",
	"6":                "$6$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAucjEsL95TW5MDF/7KcC3bcG5NoxZbmB6Lh82fxg8soAZ0",
	"yescrypt":         "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A",
	"password in file": "=open sesame",
}

func TestHashesOfTheSystemAreUnderstood(t *testing.T) {
	for name, text := range systemHashes {
		t.Run(name, func(t *testing.T) {
			s, err := parseSecret(text)
			if err != nil {
				t.Fatal(err)
			}
			if !s.check(&auth.Credentials{Mechanism: "plain", Password: "open sesame"}) {
				t.Error("the password is refused")
			}
			for _, wrong := range []string{"", "open", "open sesame ", "Open sesame", text} {
				if s.check(&auth.Credentials{Mechanism: "plain", Password: wrong}) {
					t.Errorf("%q is taken", wrong)
				}
			}
		})
	}
}

func TestHashRoundTrip(t *testing.T) {
	for _, password := range []string{"x", "open sesame", "pässwörd: $=!", strings.Repeat("x", MaxPassword)} {
		text, err := Hash(password)
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseSecret(text)
		if err != nil || !strings.HasPrefix(text, "$2b$10$") {
			t.Fatal(text, err)
		}
		if !s.check(&auth.Credentials{Mechanism: "plain", Password: password}) {
			t.Errorf("%q: the password is refused", password)
		}
	}
	for _, password := range []string{"", "a\x00b", strings.Repeat("x", MaxPassword+1)} {
		if _, err := Hash(password); err == nil {
			t.Errorf("%q has a hash", password)
		}
	}
}

func TestSecretsThatCannotBe(t *testing.T) {
	tests := map[string]string{
		"clear without mark": "secret",
		"empty clear":        "=",
		"unknown kind":       "$7$abc$def",
		"MD5 crypt":          "$1$abc$n6H250boi0sp0yw9RWhqY0",
		"a kind alone":       "$6$",
		"torn":               "$2b$10$abc",
		"dear bcrypt":        "$2b$17$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy",
		"dear SHA":           "$6$rounds=999999999$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAuc",
		"dear yescrypt":      "$y$jKT$F5Jx5fExrKuPp53xLKQ..1$6JlLzEdKMvGk83Zgd3owplAejssJr2SFlJFlOc7i54A",
		"negative rounds":    "$6$rounds=-1$saltstring$b4SOQO.YI.BXjgbKQa.97c9EQud0NW8Txr5rCRGsAuc",
		"long":               "$6$" + strings.Repeat("a", 600) + "$b4SOQO",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseSecret(text)
			if err == nil {
				t.Fatal("taken")
			}
			if len(text) > 12 && strings.Contains(err.Error(), text[8:]) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestLockedSecrets(t *testing.T) {
	for _, text := range []string{"", "!", "*", "!*", "!$6$saltstring$b4SOQO.YI.BXjgbKQa.97c9", "!=secret"} {
		s, err := parseSecret(text)
		if err != nil || !s.locked {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func TestNobodyIsAHash(t *testing.T) {
	if s, err := parseSecret(nobody); err != nil || s.digest == nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func BenchmarkCheck(b *testing.B) {
	text, err := Hash("open sesame")
	if err != nil {
		b.Fatal(err)
	}
	s, _ := parseSecret(text)
	for b.Loop() {
		s.check(&auth.Credentials{Mechanism: "plain", Password: "open sesame"})
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, text := range systemHashes {
		f.Add(text)
	}
	f.Add("!$2y$05$")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSecret(text)
		if err != nil || s.digest == nil || !cheap(text) {
			return
		}
		s.check(&auth.Credentials{Mechanism: "plain", Password: "x"}) // must not panic
	})
}

// cheap keeps the fuzzer from hashing for seconds.
func cheap(text string) bool {
	return strings.HasPrefix(text, "$2b$04$") || strings.HasPrefix(text, "$6$salt") || strings.HasPrefix(text, "$5$salt")
}
