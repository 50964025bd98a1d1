package mailtest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sqmail/sqmail/mailtest"
)

func TestMaildirIsRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"new/2.x":     "Return-Path: <joe@a.test>\nDelivered-To: bob@b.test\nSubject: two\n\n",
		"cur/1.x:2,S": "Return-Path: <>\nDelivered-To: bob@b.test\nSubject: one\n\n",
		"tmp/3.x":     "Subject: not yet\n\n",
		"new/.hidden": "",
	} {
		os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	messages := mailtest.ReadMaildir(t, dir)
	if len(messages) != 2 || messages[0].Header("Subject") != "one" {
		t.Fatalf("read %v", messages)
	}
	mailtest.AssertDelivered(t, messages, "bob@b.test", mailtest.FromPath("joe@a.test"), mailtest.HasHeader("Subject", "two"))
	mailtest.AssertDelivered(t, messages, "bob@b.test", mailtest.FromPath(""))
}
