package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/sqmail/sqmail/filter"
	"github.com/sqmail/sqmail/filter/greylist"
	"github.com/sqmail/sqmail/queue/queueadmin"
)

// greylistPath is where the administrators' socket tells records of the
// greylist, for the hexadecimal digits of a key. A running daemon has the file to
// itself.
const greylistPath = "/greylist/"

// tellGreyRecord answers with the record of a key, the zero record if there is
// none. It makes no greylist.
func (d *daemon) tellGreyRecord(w http.ResponseWriter, r *http.Request) {
	var record filter.GreyRecord
	key, err := hex.DecodeString(r.PathValue("key"))
	if err == nil {
		if _, err = os.Stat(greylistFile(d.home)); err == nil {
			err = d.grey.Update(r.Context(), string(key), func(known filter.GreyRecord) filter.GreyRecord {
				record = known
				return known
			})
		} else if os.IsNotExist(err) {
			err = nil
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(record)
}

// greyLook is a greylist that is looked at: that of a running daemon, which is
// asked, or else a file.
type greyLook struct {
	running *queueadmin.Client // nil: no daemon runs
	done    func()
	file    *greylist.File // nil: there is none, and nobody is known
}

// lookAtGreylist finds the greylist of a home. If it cannot be looked at, who
// asks it hears an error.
func lookAtGreylist(ctx context.Context, home string) *greyLook {
	path := greylistFile(home)
	if _, err := os.Stat(path); os.IsNotExist(err) {
		return &greyLook{}
	}
	if socket, done, err := shortPath(runDir(home), "admin"); err == nil {
		if c, err := queueadmin.Dial(ctx, socket); err == nil {
			return &greyLook{running: c, done: done}
		}
		done()
	}
	return &greyLook{file: &greylist.File{Path: path}}
}

// Update looks; filters change nothing in a dry run.
func (g *greyLook) Update(ctx context.Context, key string, f func(filter.GreyRecord) filter.GreyRecord) error {
	switch {
	case g.running != nil:
		record, err := g.ask(ctx, key)
		if err == nil {
			f(record)
		}
		return err
	case g.file != nil:
		return g.file.Update(ctx, key, f)
	}
	f(filter.GreyRecord{})
	return nil
}

// ask asks the daemon.
func (g *greyLook) ask(ctx context.Context, key string) (record filter.GreyRecord, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://sqmaild"+greylistPath+hex.EncodeToString([]byte(key)), nil)
	if err != nil {
		return record, err
	}
	resp, err := g.running.HTTP.Do(req)
	if err != nil {
		return record, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return record, fmt.Errorf("greylist: the daemon answers %s", resp.Status)
	}
	err = json.NewDecoder(resp.Body).Decode(&record)
	return record, err
}

// Close lets the greylist go.
func (g *greyLook) Close() error {
	switch {
	case g.running != nil:
		defer g.done()
		return g.running.Close()
	case g.file != nil:
		return g.file.Close()
	}
	return nil
}
