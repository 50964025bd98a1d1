package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/sqmail/sqmail/auth/userfile"
	"github.com/sqmail/sqmail/control"
)

var userCommands = []command{
	{
		name: "user add", args: "-home DIR NAME <password",
		short: "add a user; the password is the first line of standard input",
		run: withPassword(func(u *control.Users, name, secret string) error {
			return u.Add(name, secret)
		}),
	},
	{
		name: "user passwd", args: "-home DIR NAME <password",
		short: "change a user's password; it is the first line of standard input",
		run: withPassword(func(u *control.Users, name, secret string) error {
			return u.SetSecret(name, secret)
		}),
	},
	{
		name: "user remove", args: "-home DIR NAME",
		short: "remove a user; the mail stays where it is",
		run:   userRemove,
	},
	{
		name: "user list", args: "-home DIR [-json]",
		short: "list the users and their maildirs",
		run:   userList,
	},
}

// withUsers parses a user command, and returns the home's users and the
// argument.
func withUsers(fs *flag.FlagSet, args []string, wants int) (*control.Users, string, error) {
	homeDir := homeFlag(fs)
	args, err := parse(fs, args, wants, wants)
	if err != nil {
		return nil, "", err
	}
	home, err := absolute(*homeDir)
	if err != nil {
		return nil, "", err
	}
	return control.UsersOf(home), strings.Join(args, ""), nil
}

// withPassword makes a command of what is to be done with a name and the hash
// of a password.
func withPassword(act func(u *control.Users, name, secret string) error) func(context.Context, stdio, *flag.FlagSet, []string) error {
	return func(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
		clear := fs.Bool("clear", false, "keep the password itself, not its hash: APOP and CRAM-MD5 need it")
		users, name, err := withUsers(fs, args, 1)
		if err != nil {
			return err
		}
		password, err := readPassword(std.in)
		if err != nil {
			return err
		}
		secret := userfile.Clear(password)
		if !*clear {
			if secret, err = userfile.Hash(password); err != nil {
				return permanentError{err}
			}
		}
		return userError(act(users, name, secret))
	}
}

// readPassword reads a line of standard input.
func readPassword(in io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", err
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", usageError{errors.New("there is no password on standard input")}
	}
	return password, nil
}

func userRemove(_ context.Context, _ stdio, fs *flag.FlagSet, args []string) error {
	users, name, err := withUsers(fs, args, 1)
	if err != nil {
		return err
	}
	return userError(users.Remove(name))
}

// userError marks what will not go away by itself.
func userError(err error) error {
	_, malformed := errors.AsType[*userfile.ParseError](err)
	if malformed || errors.Is(err, userfile.ErrName) || errors.Is(err, userfile.ErrExists) || errors.Is(err, userfile.ErrNoUser) {
		return permanentError{err}
	}
	return err
}

func userList(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
	asJSON := fs.Bool("json", false, "print a JSON array")
	users, _, err := withUsers(fs, args, 0)
	if err != nil {
		return err
	}
	accounts, err := users.List()
	if err != nil {
		return userError(err)
	}
	type row struct {
		Name    string `json:"name"`
		Maildir string `json:"maildir"`
		Locked  bool   `json:"locked,omitempty"`
	}
	rows := []row{}
	for _, a := range accounts {
		rows = append(rows, row{a.Name, a.Maildir(), a.Locked()})
	}
	if *asJSON {
		return json.NewEncoder(std.out).Encode(rows)
	}
	for _, r := range rows {
		fmt.Fprintf(std.out, "%-20s %s\n", r.Name, r.Maildir)
	}
	return nil
}
