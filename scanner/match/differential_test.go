package match

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/report"
)

// The tests here hold every finding to gitleaks' own Detect: rule, lines,
// columns, line, match, secret, entropy, tags, file. Known differences, all
// meant:
//
//   - Entropy right at a rule's bound. gitleaks adds up over a map, whose order
//     is random: the last bit of the sum, and with it "<= bound", differs from run
//     to run. We add up in one order. (closeCall)
//   - The order of findings. gitleaks' is random, ours is that of the rules' ids.

// pair is a matcher and gitleaks itself, with the same rules.
type pair struct {
	fast    *Gitleaks
	planned *Gitleaks // as fast, from a plan
	slow    *detect.Detector
	cfg     config.Config
}

func newPair(t testing.TB, o Options, tomls ...[]byte) *pair {
	t.Helper()
	cfg, err := Load(tomls...)
	if err != nil {
		t.Fatal(err)
	}
	g := New(cfg, o)
	plan, err := Plan(tomls...)
	if err != nil {
		t.Fatal(err)
	}
	p := readPlan(string(plan), planOf(tomls))
	if p == nil {
		t.Fatal("a plan is not what it was made of")
	}
	return &pair{fast: g, planned: newGitleaks(p, g.config, o), slow: g.detector(), cfg: cfg}
}

// form writes a finding without its entropy, so that findings can be counted.
func form(f *report.Finding) string {
	return fmt.Sprintf("%s %d:%d-%d:%d %q %q line %q tags %q file %q commit %q",
		f.RuleID, f.StartLine, f.StartColumn, f.EndLine, f.EndColumn, f.Match, f.Secret, f.Line, f.Tags, f.File, f.Commit)
}

func forms(list []report.Finding) (out []string) {
	for i := range list {
		out = append(out, form(&list[i]))
	}
	slices.Sort(out)
	return out
}

// closeCall reports whether the entropy of a secret is within rounding of the
// bound of its rule.
func (p *pair) closeCall(f *report.Finding) bool {
	return math.Abs(shannon([]byte(f.Secret))-p.cfg.Rules[f.RuleID].Entropy) < 1e-9
}

// differences compares both on one text; at most a few lines.
func (p *pair) differences(raw, path string) (out []string, findings int) {
	//lint:ignore SA1019 Detect of v8.30.1, which is what findings are held to, takes no other type
	want := p.slow.Detect(detect.Fragment{Raw: raw, FilePath: path})
	got := p.fast.Detect(context.Background(), []byte(raw), path, "")
	planned := p.planned.Detect(context.Background(), []byte(raw), path, "")
	if !reflect.DeepEqual(planned, got) && !slices.Equal(forms(planned), forms(got)) { // gitleaks' own order is random
		out = append(out, fmt.Sprintf("a plan changes what is found: %d and %d findings", len(planned), len(got)))
	}
	count := map[string]int{}
	entropy := map[string]float32{}
	for i := range want {
		count[form(&want[i])]++
		entropy[form(&want[i])] = want[i].Entropy
	}
	for i := range got {
		k := form(&got[i])
		count[k]--
		e, ok := entropy[k]
		if ok && math.Abs(float64(e-got[i].Entropy)) > 1e-5 {
			out = append(out, fmt.Sprintf("entropy %v, want %v: %s", got[i].Entropy, e, k))
		}
	}
	say := func(list []report.Finding, sign int, text string) {
		for i := range list {
			k := form(&list[i])
			if count[k]*sign > 0 && !p.closeCall(&list[i]) {
				count[k] -= sign
				if len(k) > 600 {
					k = k[:600]
				}
				out = append(out, text+k)
			}
		}
	}
	say(want, 1, "lost ")
	say(got, -1, "not gitleaks' ")
	return out, len(want)
}

func (p *pair) check(t *testing.T, raw, path, name string) int {
	t.Helper()
	diff, n := p.differences(raw, path)
	for i, d := range diff {
		if i == 5 {
			break
		}
		t.Errorf("%s: %s", name, d)
	}
	return n
}

func extraRules(t testing.TB) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "rules", "toml", "*.toml"))
	if err != nil || len(names) == 0 {
		t.Fatalf("rules of our own: %d files, %v", len(names), err)
	}
	var all []byte
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, data...), '\n')
	}
	return all
}

// Every rule, on texts made from its own expression in a dozen surroundings.
func TestEveryRuleIsGitleaks(t *testing.T) {
	p := newPair(t, Options{}, extraRules(t))
	rounds := 12
	if testing.Short() {
		rounds = 2
	}
	ids := make([]string, 0, len(p.cfg.Rules))
	for id := range p.cfg.Rules {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	total, silent := 0, 0
	for _, id := range ids {
		r := p.cfg.Rules[id]
		found := 0
		for round := range rounds {
			s := newSampler(uint64(round), id)
			raw := s.surround(s.rule(r), round)
			found += p.check(t, raw, s.path(r), fmt.Sprintf("%s, round %d", id, round))
		}
		total += found
		if found == 0 {
			silent++
		}
	}
	t.Logf("%d findings; %d of %d rules found nothing", total, silent, len(ids))
	if silent > len(ids)/4 {
		t.Errorf("%d of %d rules found nothing: the samples are bad", silent, len(ids))
	}
}

// Many rules in one text: noise, lines of all lengths, line ends of all kinds,
// odd runes, encodings in encodings.
func TestSplicedTextIsGitleaks(t *testing.T) {
	p := newPair(t, Options{}, extraRules(t))
	rounds := 24
	if testing.Short() {
		rounds = 6
	}
	total := 0
	for round := range rounds {
		s := newSampler(uint64(round), "splice")
		total += p.check(t, s.splice(p.cfg, 40), "", fmt.Sprintf("round %d", round))
	}
	if total < rounds {
		t.Errorf("%d findings only", total)
	}
}

// Rules that the default configuration does not have the like of.
var strangeRules = []byte(`
[[rules]]
id = "no-keyword"
regex = '''zq[0-9]{6}'''
[[rules]]
id = "no-word"
regex = '''\b[A-F]{3}[0-9]{5}\b'''
[[rules]]
id = "line-anchors"
regex = '''(?m)^pin: (\d+)$'''
keywords = ["pin"]
[[rules]]
id = "text-anchors"
regex = '''^begin-[a-z]{4}|end-[a-z]{4}$'''
[[rules]]
id = "boundaries"
regex = '''\Bcode\B\d+\b'''
keywords = ["code"]
[[rules]]
id = "maybe-nothing"
regex = '''(?:void-\d)*'''
keywords = ["void"]
[[rules]]
id = "elsewhere"
regex = '''\d{4}-\d{4}-\d{4}'''
keywords = ["Account", "konto"]
[[rules]]
id = "umlaut"
regex = '''(?i)schlüssel=(\w+)'''
keywords = ["schlüssel"]
[[rules]]
id = "kelvin"
regex = '''(?i)kiss_(\w{4,})'''
keywords = ["kiss"]
[[rules]]
id = "two-groups"
regex = '''pair ([a-z]+)?:([a-z]+);'''
secretGroup = 2
[[rules]]
id = "greedy"
regex = '''open(.|\n)+close'''
[[rules]]
id = "lazy"
regex = '''from(?s:.)+?till[a-z]?'''
[[rules]]
id = "overlap"
regex = '''ab[=a-z]{2,5}=[a-z]{3,}'''
[[rules]]
id = "by-path"
regex = '''local-\d+'''
path = '''\.cfg$'''
[[rules]]
id = "path-alone"
path = '''(?i)(^|/)id_rsa$'''
keywords = ["zq"]
[[rules]]
id = "main"
regex = '''main-\d{3}'''
[[rules.required]]
id = "helper"
withinLines = 2
[[rules]]
id = "helper"
regex = '''helper-\d{3}'''
skipReport = true
[[rules]]
id = "generic-thing"
regex = '''thing=([a-z0-9]{6,})'''
[[rules]]
id = "exact-thing"
regex = '''[a-z]*=(zz[a-z0-9]{6,})'''
[[rules]]
id = "excused"
regex = '''excuse-([a-z0-9]+)'''
entropy = 1.5
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''fine here''']
[[rules.allowlists]]
condition = "AND"
regexTarget = "match"
regexes = ['''e-q''']
stopwords = ["qq"]
[[rules.allowlists]]
condition = "AND"
paths = ['''\.cfg$''']
stopwords = ["pp"]
[[rules.allowlists]]
paths = ['''\.lock$''']
[[rules.allowlists]]
regexes = ['''^[x-z]+$''']
`)

func TestStrangeRulesAreGitleaks(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 15
	}
	for _, honour := range []bool{false, true} {
		for _, depth := range []int{0, 1, -1} {
			p := newPair(t, Options{HonourAllow: honour, DecodeDepth: depth}, strangeRules)
			if !honour && depth == 0 {
				for _, r := range []string{"maybe-nothing"} {
					if p.fast.program.rule(r).windowed {
						t.Errorf("%s cannot be windowed", r)
					}
				}
			}
			total := 0
			for round := range rounds {
				s := newSampler(uint64(round), "strange")
				raw := s.strange()
				for _, path := range []string{"", "a.cfg", "x/id_rsa", "go.sum", "a.lock"} {
					total += p.check(t, raw, path, fmt.Sprintf("round %d, path %q", round, path))
				}
			}
			if total < 20*rounds {
				t.Errorf("%d findings only", total)
			}
		}
	}
}

func (p *program) rule(id string) *rule {
	for _, r := range p.rules {
		if r.RuleID == id {
			return r
		}
	}
	return nil
}

// Real files: of this module's dependencies, with their test data, and of every
// path below STANCH_DIFFERENTIAL when that is set.
func TestRealFilesAreGitleaks(t *testing.T) {
	p := newPair(t, Options{}, extraRules(t))
	root, budget, every := os.Getenv("STANCH_DIFFERENTIAL"), 1<<40, 1
	if root == "" {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/zricethezav/gitleaks/v8").Output()
		if err != nil {
			t.Skip("the module cache is not here")
		}
		root, budget, every = strings.TrimSpace(string(out)), 1<<20, 3
		if testing.Short() {
			budget = 1 << 19
		}
	}
	files, bytes, findings := 0, 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || bytes > budget {
			return nil
		}
		files++
		if files%every != 0 {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 4<<20 {
			return nil
		}
		bytes += len(data)
		rel, _ := filepath.Rel(root, path)
		for start := 0; start < len(data); start += 256 << 10 {
			end := min(len(data), start+256<<10)
			findings += p.check(t, string(data[start:end]), rel, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d bytes, %d findings", files, bytes, findings)
}

func FuzzDifferential(f *testing.F) {
	p := newPair(f, Options{}, extraRules(f), strangeRules)
	for round := range uint64(8) {
		s := newSampler(round, "fuzz")
		f.Add(s.splice(p.cfg, 3), "")
		f.Add(s.strange(), "a.cfg")
	}
	f.Fuzz(func(t *testing.T, raw, path string) {
		if len(raw) > 20_000 {
			return
		}
		p.check(t, raw, path, "fuzz")
	})
}
