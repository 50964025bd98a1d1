package sqmail_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// tree is the module's source, parsed once: every file, whatever its build
// tags say.
type sourcePackage struct {
	path  string // below the module's root; "" is the root
	name  string
	files []sourceFile
}

type sourceFile struct {
	name   string
	test   bool
	syntax *ast.File
	set    *token.FileSet
}

func (f sourceFile) imports() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, spec := range f.syntax.Imports {
			if path, err := strconv.Unquote(spec.Path.Value); err != nil || !yield(path) {
				return
			}
		}
	}
}

func (f sourceFile) at(n ast.Node) token.Position { return f.set.Position(n.Pos()) }

func packages(t *testing.T) []sourcePackage {
	t.Helper()
	set := token.NewFileSet()
	var all []sourcePackage
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if base := d.Name(); dir != "." && (base[0] == '.' || base[0] == '_' || base == "testdata") {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && dir != "." {
			return fs.SkipDir // a module of its own
		}
		p, err := parseDir(set, dir)
		if len(p.files) > 0 {
			all = append(all, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parseDir(set *token.FileSet, dir string) (sourcePackage, error) {
	p := sourcePackage{path: strings.TrimPrefix(filepath.ToSlash(dir), ".")}
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return p, err
	}
	for _, name := range names {
		syntax, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			return p, err
		}
		test := strings.HasSuffix(name, "_test.go")
		if !test || p.name == "" {
			p.name = syntax.Name.Name
		}
		p.files = append(p.files, sourceFile{name, test, syntax, set})
	}
	return p, nil
}

func TestEveryPackageSaysWhatItPromises(t *testing.T) {
	for _, p := range packages(t) {
		if p.onlyTests() {
			continue
		}
		comment := ""
		for _, f := range p.files {
			if !f.test && f.syntax.Doc != nil {
				comment += f.syntax.Doc.Text()
			}
		}
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "" // a command's comment begins with its name
		}
		if comment == "" || !strings.HasPrefix(comment, want) {
			t.Errorf("%s: the package comment is %q; it is to begin with %q", p.path, comment, want)
		}
	}
}

// An example without output is compiled and never run. Kits for tests are shown
// by the tests that use them.
func TestEveryPublicPackageHasAnExampleThatRuns(t *testing.T) {
	for _, p := range packages(t) {
		kit := strings.HasSuffix(p.path, "/"+p.name) && strings.HasSuffix(p.name, "test")
		if p.name == "main" || kit || p.onlyTests() || strings.Contains("/"+p.path, "/internal/") {
			continue
		}
		runs := 0
		for _, f := range p.files {
			for _, e := range doc.Examples(f.syntax) {
				if e.Output != "" || e.EmptyOutput {
					runs++
				}
			}
		}
		if runs == 0 {
			t.Errorf("%s has no Example with an Output", p.path)
		}
	}
}

func (p sourcePackage) onlyTests() bool {
	for _, f := range p.files {
		if !f.test {
			return false
		}
	}
	return true
}
