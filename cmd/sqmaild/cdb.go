package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sqmail/sqmail/control/tcprules"
	"github.com/sqmail/sqmail/filter/compile"
	"github.com/sqmail/sqmail/internal/cdb"
)

// compiler makes records of a text.
type compiler func(text io.Reader, put func(key, value []byte) error) error

var cdbCommands = []command{
	{
		name: "tcprules", args: "CDB TMP <rules",
		short: "make a database of rules for connections",
		long:  "TMP is taken for the sake of scripts; the database is put in place in one step without it.",
		run: func(_ context.Context, std stdio, fs *flag.FlagSet, args []string) error {
			args, err := parse(fs, args, 1, 2)
			if err != nil {
				return err
			}
			return compileCDB(std.in, "standard input", args[0], tcprules.Compile)
		},
	},
	cdbCommand("newmrh", "control/morercpthosts", compile.MoreRcptHosts),
	cdbCommand("recipients", "users/recipients", compile.Recipients),
	cdbCommand("mfrules", "control/mailfromrules", compile.MailFromRules),
	cdbCommand("badmimetypes", "control/badmimetypes", compile.BadMIMETypes),
	cdbCommand("badloadertypes", "control/badloadertypes", compile.BadLoaderTypes),
}

// cdbCommand makes a command that compiles a file of the home.
func cdbCommand(name, file string, c compiler) command {
	return command{
		name: name, args: "-home DIR",
		short: fmt.Sprintf("make %s.cdb of %s", file, file),
		run: func(_ context.Context, _ stdio, fs *flag.FlagSet, args []string) error {
			homeDir := homeFlag(fs)
			if _, err := parse(fs, args, 0, 0); err != nil {
				return err
			}
			home, err := absolute(*homeDir)
			if err != nil {
				return err
			}
			path := filepath.Join(home, file)
			text, err := os.Open(path)
			if os.IsNotExist(err) {
				return permanentError{err}
			}
			if err != nil {
				return err
			}
			defer text.Close()
			return compileCDB(text, path, path+".cdb", c)
		},
	}
}

// compileCDB makes a database of a text. The old database stays if the text is
// wrong.
func compileCDB(text io.Reader, name, to string, c compiler) error {
	return cdb.Create(to, func(w *cdb.Writer) error {
		if err := c(text, w.Put); err != nil {
			return permanentError{fmt.Errorf("%s: %w", name, err)}
		}
		return nil
	})
}
