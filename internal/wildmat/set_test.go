package wildmat

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func ExampleSet() {
	var b Builder
	for i, pattern := range []string{"*@*.example", "joe@*.example", "*[0-9]@*"} {
		b.Add(pattern, int32(i))
	}
	s := b.Set()
	fmt.Println(s.Best("ann@a.example", -1), s.Best("joe@a.example", -1), s.Best("joe7@a.test", -1), s.Best("joe@a.test", -1))
	// Output: 0 1 2 -1
}

// bestOf is what Best is to say, one pattern after the other.
func bestOf(patterns []string, text string) int32 {
	best := int32(-1)
	for i, p := range patterns {
		if Match(p, text) {
			best = int32(i)
		}
	}
	return best
}

func setOf(patterns ...string) *Set {
	var b Builder
	for i, p := range patterns {
		b.Add(p, int32(i))
	}
	return b.Set()
}

// TestSetMatchesWhatItsPatternsMatch compares with Match, on patterns and texts
// of a few bytes, so that they often agree.
func TestSetMatchesWhatItsPatternsMatch(t *testing.T) {
	pattern := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab", "*", "?", "[ab]", "[^a]", "[a-c]", `\*`, `\a`, "[", "]", `\`, "@"}), 0, 8),
		func(parts []string) string { return strings.Join(parts, "") })
	text := rapid.StringOfN(rapid.SampledFrom([]rune("aabbc*@]")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(pattern, 0, 20).Draw(t, "patterns")
		s := setOf(patterns...)
		for range 5 {
			text := text.Draw(t, "text")
			if got, want := s.Best(text, -1), bestOf(patterns, text); got != want {
				t.Fatalf("%q in %q: %d, want %d", text, patterns, got, want)
			}
		}
	})
}

func TestSetKeepsLeast(t *testing.T) {
	s := setOf("a*")
	if s.Best("abc", 5) != 5 || s.Best("x", 5) != 5 || new(Builder).Set().Best("", -1) != -1 {
		t.Error("a number below least was returned")
	}
	var b Builder
	if b.Add("[", 9) || b.Set().Best("[", -1) != -1 {
		t.Error("a malformed pattern was added")
	}
}

// TestCostDoesNotGrowWithTheSet counts the looks of a match in sets of a
// thousand and of a hundred thousand patterns of the kinds that lists have.
func TestCostDoesNotGrowWithTheSet(t *testing.T) {
	for _, form := range []string{
		"*@*.d%d.example", "user%d@*.example", "*x%d*@*", "[a-z]*%d@d%[1]d.example", "*@mail?.d%d.example", "*spam*%d*", "?%d*x",
	} {
		const text = "somebody.x.with-a-name@lists.mail7.d77777.example"
		var steps [2]int
		for i, n := range []int{1000, 100_000} {
			var b treeBuilder
			for k := range n {
				b.Add(fmt.Sprintf(form, k), int32(k))
			}
			s := b.tree()
			w := s.begin()
			s.run(w, text, -1)
			steps[i] = w.steps
		}
		if steps[1] > 2*steps[0]+50 || steps[1] > 12*len(text) {
			t.Errorf("%s: %d looks with 1,000, %d with 100,000", form, steps[0], steps[1])
		}
	}
}

// TestCostOfHostileText: the longest address there can be, made of what the
// patterns begin with.
func TestCostOfHostileText(t *testing.T) {
	var b treeBuilder
	for k := range 1000 {
		b.Add(fmt.Sprintf("*a*b*%d", k), int32(k))
		b.Add(strings.Repeat("*a", k%50)+"z", int32(k))
	}
	s := b.tree()
	text := strings.Repeat("ab", 450)
	w := s.begin()
	s.run(w, text, -1)
	if most := 150 * len(text); w.steps > most {
		t.Errorf("%d looks, want %d at most", w.steps, most)
	}
}

func FuzzSet(f *testing.F) {
	f.Add("a*\n*b[c-e]\nab", "abd")
	f.Add("**\n*?*a\n\\*[^]x-]", "*y")
	f.Add("[a\n*[", "[")
	f.Add("*.example\n*longer.example\n\\*\\a\n*[]]e\n[]e", "a.longer.example")
	f.Fuzz(func(t *testing.T, list, text string) {
		if len(list) > 256 || len(text) > 128 {
			return
		}
		patterns := strings.Split(list, "\n")
		if got, want := setOf(patterns...).Best(text, -1), bestOf(patterns, text); got != want {
			t.Errorf("%q in %q: %d, want %d", text, patterns, got, want)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var list Builder
			for k := range n {
				list.Add(fmt.Sprintf("*@*.d%d.example", k), int32(k))
			}
			s := list.Set()
			b.ReportAllocs()
			for b.Loop() {
				s.Best("somebody.with-a-name@lists.mail7.d7777.example", -1)
			}
		})
	}
}

// TestEqualSetsShareANode, also behind a literal that has been split: a list of
// patterns is as large as what they do not have in common.
func TestEqualSetsShareANode(t *testing.T) {
	var b treeBuilder
	for i, p := range []string{"key[ab]1", "kex", "key[ba]2", "[ab]x", "[a-b]y"} {
		b.Add(p, int32(i))
	}
	// The root; ke, y, [ab], 1, x, 2; [ab], x, y.
	if s := b.tree(); len(s.nodes) != 10 || len(s.classes) != 1 {
		t.Errorf("%d nodes, %d classes", len(s.nodes), len(s.classes))
	}
}
