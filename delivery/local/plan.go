package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sqmail/sqmail"
)

// Plan is what would be done with a message, and why: the same that Deliver
// does.
type Plan struct {
	// User controls the address.
	User User

	// File is the dot-qmail file, relative to the user's home. "" if there is
	// none or it is empty: then the instructions are the default.
	File string

	// Default is the part of the extension that "default" in the file's name
	// stands for, if HasDefault.
	Default    string
	HasDefault bool

	// ReversePath is that of forwards: the message's own, or that of the
	// mailing list's owner.
	ReversePath sqmail.Path

	// Instructions in their order.
	Instructions []Instruction
}

// defaultInstructions are those of the zero Agent.
const defaultInstructions = "./Maildir/"

// Plan finds out what a message from reverse to the recipient to would be done
// with, without doing it. The error is what Deliver would make of it; it holds
// an [sqmail.Error].
func (a *Agent) Plan(ctx context.Context, reverse, to sqmail.Path) (*Plan, error) {
	p, err := a.plan(ctx, reverse, to)
	if f, ok := errors.AsType[*failure](err); ok {
		return nil, &sqmail.Error{Op: "plan", Class: f.class, Reply: f.reply(), Err: f}
	}
	return p, err
}

func (a *Agent) plan(ctx context.Context, reverse, to sqmail.Path) (*Plan, error) {
	user, err := a.lookup(ctx, to.LocalPart())
	if err != nil {
		return nil, err
	}
	p := &Plan{User: user, ReversePath: reverse}
	if err := a.checkHome(user.Home); err != nil {
		return nil, err
	}
	file, err := find(user.Home, user.Dash, user.Ext, a.mask())
	if err != nil {
		return nil, err
	}
	if file.name == "" && user.Dash != "" {
		return nil, noMailbox(nil)
	}
	if p.ReversePath, err = forwardReversePath(user, reverse, to); err != nil {
		return nil, err
	}
	p.Default, p.HasDefault = file.rest, file.isDefault
	if len(file.text) == 0 {
		p.Instructions, err = parse([]byte(a.defaultFor(user)), false)
	} else {
		p.File = file.name
		p.Instructions, err = parse(file.text, file.forwardOnly)
	}
	if err != nil {
		return nil, err
	}
	return p, a.able(p)
}

func noMailbox(cause error) error {
	return fail(cause, "Sorry, no mailbox here by that name. (#5.1.1)")
}

// lookup finds who controls a local part: a user, else the alias user. An
// empty local part is nobody's.
func (a *Agent) lookup(ctx context.Context, local string) (User, error) {
	if local == "" {
		return User{}, noMailbox(nil)
	}
	user, err := User{}, ErrNoUser
	if a.Users != nil {
		user, err = a.Users.Lookup(ctx, local)
	}
	if errors.Is(err, ErrNoUser) {
		if a.Alias == "" {
			return User{}, noMailbox(err)
		}
		user, err = User{Name: "alias", Home: a.Alias, Dash: "-", Ext: local}, nil
	}
	if err != nil {
		return User{}, fail(err, "Trouble looking up the user. (#4.3.0)")
	}
	if !filepath.IsAbs(user.Home) {
		return User{}, fail(nil, "Home directory of the user is not an absolute path. (#4.3.5)")
	}
	return user, nil
}

func (a *Agent) defaultFor(user User) string {
	switch {
	case user.Default != "":
		return user.Default
	case a.Default != "":
		return a.Default
	}
	return defaultInstructions
}

// checkHome refuses a home directory that others may write to, or whose owner
// asks for a pause with its sticky bit.
func (a *Agent) checkHome(home string) error {
	info, err := os.Stat(home)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return fail(err, "Unable to switch to home directory: %s. (#4.3.0)", reason(err))
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && st.Uid != 0 {
		// Its owner could make us write anywhere, and run anything.
		return fail(nil, "Not allowed to perform deliveries as root. (#4.7.0)")
	}
	if info.Mode()&a.mask() != 0 {
		return fail(nil, "Uh-oh: home directory is writable. (#4.7.0)")
	}
	if info.Mode()&fs.ModeSticky != 0 {
		return fail(nil, "Home directory is sticky: user is editing his .qmail file. (#4.2.1)")
	}
	return nil
}

// forwardReversePath returns the reverse-path of forwards. That of a mailing
// list is its owner, and names the recipient if the owner's bounces are told
// apart.
func forwardReversePath(user User, reverse, to sqmail.Path) (sqmail.Path, error) {
	if reverse.IsNull() || reverse.Unquoted() == doubleBounce {
		return reverse, nil
	}
	owner := user.Home + "/.qmail" + user.Dash + safeExt(user.Ext) + "-owner"
	found, err := exists(owner)
	if err != nil || !found {
		return reverse, err
	}
	each, err := exists(owner + "-default")
	if err != nil {
		return reverse, err
	}
	local := to.LocalPart() + "-owner"
	if each {
		return sqmail.PathOf(local + "-@" + to.Domain + "-@[]"), nil
	}
	return sqmail.PathOf(local + "@" + to.Domain), nil
}

// doubleBounce is the reverse-path of a bounce that bounced.
const doubleBounce = "#@[]"

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if err == nil || isAbsent(err) {
		return err == nil, nil
	}
	return false, fail(err, "Unable to open %s: %s. (#4.3.0)", filepath.Base(path), reason(err))
}

// able refuses a plan of which it is known beforehand that it will fail.
func (a *Agent) able(p *Plan) error {
	for _, in := range p.Instructions {
		switch {
		case in.Kind == KindProgram && a.Programs == nil:
			return fail(nil, "Uh-oh: .qmail has prog delivery but programs are switched off. (#4.7.0)")
		case in.Kind == KindForward && a.Receiver == nil:
			return fail(nil, "Unable to forward message: no queue. (#4.3.5)")
		}
	}
	return nil
}

// String lists the instructions as qmail-local -n does, and how many there
// are of files, forwards and programs.
func (p *Plan) String() string {
	var b strings.Builder
	var done tally
	for _, in := range p.Instructions {
		if in.Kind != KindUnknown {
			fmt.Fprintf(&b, "%s %s\n", in.Kind, clean(in.Arg))
			done.add(in.Kind)
		}
	}
	return b.String() + done.String()
}

// tally counts what was done.
type tally struct{ files, forwards, programs int }

func (t *tally) add(k Kind) {
	switch k {
	case KindMbox, KindMaildir:
		t.files++
	case KindForward:
		t.forwards++
	case KindProgram:
		t.programs++
	}
}

// String returns the line that ends the report of a delivery.
func (t tally) String() string {
	return fmt.Sprintf("did %d+%d+%d\n", t.files, t.forwards, t.programs)
}
