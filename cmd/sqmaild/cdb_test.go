package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sqmail/sqmail/internal/cdb"
)

func TestCDBCommands(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	for _, test := range []struct{ command, file, text, key, value string }{
		{"newmrh", "control/morercpthosts", "Example.ORG \n# c\n", "example.org", ""},
		{"recipients", "users/recipients", "Joe@Example.org\n", ":joe@example.org", ""},
		{"mfrules", "control/mailfromrules", "joe&joe@x.test,sue@x.test\n", "joe", "+joe@x.test+sue@x.test"},
		{"badmimetypes", "control/badmimetypes", "TVqQAAMAA programs\n", "TVqQAAMAA", ""},
		{"badloadertypes", "control/badloadertypes", "Mi5kb x\n", "Mi5kb", ""},
	} {
		h.write(test.file, test.text)
		if _, errs, code := runCommand(t, "", test.command, "-home", dir); code != exitDone {
			t.Errorf("%s: exit %d, %s", test.command, code, errs)
			continue
		}
		checkCDB(t, filepath.Join(dir, test.file+".cdb"), test.key, test.value)
	}
	rules := filepath.Join(dir, "control", "rules.x.cdb")
	if _, errs, code := runCommand(t, "10.:deny\n:allow,RELAYCLIENT=\"\"\n", "tcprules", rules, rules+".tmp"); code != exitDone {
		t.Fatalf("tcprules: exit %d, %s", code, errs)
	}
	checkCDB(t, rules, "10.", "D")
	checkCDB(t, rules, "", "+RELAYCLIENT=\x00")
}

func checkCDB(t *testing.T, name, key, value string) {
	t.Helper()
	db, err := cdb.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	if v, found, err := db.Get([]byte(key)); !found || err != nil || string(v) != value {
		t.Errorf("%s: %q is %q, %v, %v", name, key, v, found, err)
	}
}

// TestWrongTextKeepsTheOldDatabase names the line that is wrong.
func TestWrongTextKeepsTheOldDatabase(t *testing.T) {
	dir := explainedHome(t)
	h := &home{t: t, dir: dir}
	h.write("control/mailfromrules", "joe&joe@x.test\n")
	runCommand(t, "", "mfrules", "-home", dir)
	before, err := os.ReadFile(dir + "/control/mailfromrules.cdb")
	if err != nil {
		t.Fatal(err)
	}
	h.write("control/mailfromrules", "joe&joe@x.test\nnonsense\n")
	_, errs, code := runCommand(t, "", "mfrules", "-home", dir)
	if code != exitPermanent || !strings.Contains(errs, "line 2") && !strings.Contains(errs, ":2") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if after, _ := os.ReadFile(dir + "/control/mailfromrules.cdb"); string(after) != string(before) {
		t.Error("the database has changed")
	}
	if _, errs, code := runCommand(t, "", "newmrh", "-home", dir); code != exitPermanent || errs == "" {
		t.Errorf("without a text: exit %d, %q", code, errs)
	}
}
