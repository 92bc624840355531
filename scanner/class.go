package scanner

import (
	"path"
	"slices"
	"strings"

	"stanch/scanner/rules"
)

// assess fills in class, confidence, their reasons and suppression.
func assess(f *Finding) {
	value := f.Secret.Reveal()
	conf := 2 // 1 low, 2 medium, 3 high
	_, typed := rules.Of(f.Rule, value)
	if strings.Contains(f.Rule, "generic") || f.Rule == "pkcs12-file" || slices.Contains(f.Tags, tagNearKeyID) {
		conf = 1
	}
	say := func(delta int, reason string) {
		conf += delta
		f.Reasons = append(f.Reasons, reason)
	}
	proved := false
	switch {
	case f.Provider == "github":
		proved = assessGitHub(value, say)
	case f.Part == PartAccessKeyID && f.Provider == "aws":
		assessAWS(f, value, say)
	case slices.Contains(f.Tags, tagNearKeyID):
		say(0, "stands near an AWS access key id, near no word that names it")
	case f.Part == PartSecretAccessKey && !rules.PlausibleAWSSecret(value):
		say(-1, "does not look random: no mix of upper case, lower case and digits")
	}
	if !typed && f.Provider == "" {
		f.Reasons = append(f.Reasons, "the rule names no provider")
	}
	f.Class, f.ClassReason = classOfPath(f.Place)
	if c, why := classOfValue(f, value); c != "" && !proved {
		f.Class, f.ClassReason = c, why
	}
	switch f.Class {
	case ClassPlaceholder:
		conf = 1
		f.Suppressed = f.ClassReason
	case ClassFixture, ClassDocs, ClassExample, ClassPublic:
		say(-1, f.ClassReason)
	}
	if !proved && ascending(value) {
		say(-1, "counts up or runs through the alphabet, as made-up values do")
	}
	f.Confidence = []Confidence{ConfidenceLow, ConfidenceMedium, ConfidenceHigh}[max(1, min(conf, 3))-1]
}

func assessGitHub(value string, say func(int, string)) (proved bool) {
	switch rules.GitHubChecksum(value) {
	case rules.Passed:
		say(1, "the checksum in the token holds")
		return true
	case rules.Failed:
		say(-1, "the checksum in the token does not hold: altered, cut or made up")
		return false
	case rules.None:
	}
	_, expires, ok := rules.GitHubAppToken(value)
	if !ok {
		return false
	}
	say(1, "holds a readable JWT")
	if !expires.IsZero() {
		say(0, "says that it expires at "+expires.Format("2006-01-02T15:04:05Z"))
	}
	return true
}

func assessAWS(f *Finding, value string, say func(int, string)) {
	account, ok := rules.AccountID(value)
	switch {
	case rules.IsDocumentationKey(value):
	case !ok:
		say(0, "carries no account number: a key made before 2019")
	case rules.IsCanaryAccount(account):
		f.Tags = append(f.Tags, "canary")
		say(1, "belongs to account "+account+", which a maker of canary tokens uses: a call with it alerts its owner")
	default:
		say(1, "belongs to account "+account+", read from the key id")
	}
}

// classOfValue says what the value itself gives away; "" when nothing.
func classOfValue(f *Finding, value string) (Class, string) {
	if f.Provider == "aws" && rules.IsDocumentationKey(value) {
		return ClassPlaceholder, "a key from AWS' documentation"
	}
	k, _ := rules.Of(f.Rule, value)
	if k.Public && f.Part != PartAccessKeyID {
		return ClassPublic, "an identifier that is no secret by itself"
	}
	if f.Rule == "kubernetes-secret-yaml" {
		key, _, _ := strings.Cut(value, ":")
		if strings.HasSuffix(key, ".crt") || strings.Contains(value, "LS0tLS1CRUdJTiBDRVJUSUZJQ0FUR") {
			return ClassPublic, "a certificate, which is public"
		}
	}
	if f.Rule == "private-key" {
		return "", ""
	}
	lower := strings.ToLower(value)
	for _, w := range []string{"example", "placeholder", "changeme", "change_me", "notarealkey", "redacted", "replaceme", "replace_me", "insert_your", "your_api", "your-api", "yourapikey"} {
		if strings.Contains(lower, w) {
			return ClassPlaceholder, "the value says that it is a placeholder"
		}
	}
	if len(value) <= 100 && sameRun(value) >= 10 { // longer base64 can hold a run of zeros
		return ClassPlaceholder, "the value repeats one character"
	}
	return "", ""
}

// sameRun is the length of the longest run of one character. A slash does not
// count: AWS session tokens hold ten in a row.
func sameRun(s string) int {
	best, n := 0, 0
	for i := range len(s) {
		if i > 0 && s[i] == s[i-1] && s[i] != '/' {
			n++
		} else {
			n = 1
		}
		best = max(best, n)
	}
	return best
}

// ascending reports ten or more characters in a row that count up by one.
func ascending(s string) bool {
	n := 1
	for i := 1; i < len(s); i++ {
		if s[i] == s[i-1]+1 || s[i] == '0' && s[i-1] == '9' {
			n++
		} else {
			n = 1
		}
		if n >= 10 {
			return true
		}
	}
	return false
}

var (
	testWords    = []string{"test", "tests", "testing", "testdata", "__tests__", "spec", "specs", "fixture", "fixtures", "mock", "mocks", "__mocks__", "e2e", "testutil", "testutils", "cassettes", "testcases"}
	docWords     = []string{"doc", "docs", "documentation", "website", "man", "changelog", "readme"}
	exampleWords = []string{"example", "examples", "sample", "samples", "demo", "demos", "tutorial", "tutorials", "template", "templates"}
	docExt       = []string{".md", ".mdx", ".rst", ".adoc", ".asciidoc", ".markdown"}
)

// classOfPath says what kind of place a path is; the reason names what told it.
func classOfPath(p Place) (Class, string) {
	switch p.Object {
	case "", "blob":
	default:
		return ClassProduction, "in a " + p.Object
	}
	lower := strings.ToLower(p.Path)
	parts := strings.Split(lower, "/")
	base := parts[len(parts)-1]
	for _, d := range parts[:len(parts)-1] {
		switch {
		case slices.Contains(testWords, d) || strings.HasSuffix(d, "_test") || strings.HasSuffix(d, "-tests") || strings.HasPrefix(d, "test_"):
			return ClassFixture, "in a directory of tests: " + d
		case slices.Contains(exampleWords, d):
			return ClassExample, "in a directory of examples: " + d
		case slices.Contains(docWords, d):
			return ClassDocs, "in a directory of documentation: " + d
		}
	}
	ext := path.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	words := strings.FieldsFunc(base, func(r rune) bool { return r == '.' || r == '_' || r == '-' })
	switch {
	case strings.HasSuffix(stem, "_test") || strings.HasSuffix(stem, ".test") || strings.HasSuffix(stem, ".spec") ||
		strings.HasPrefix(base, "test_") || strings.HasSuffix(stem, "test") && slices.Contains([]string{".java", ".kt", ".cs", ".php"}, ext):
		return ClassFixture, "a test file by its name"
	case slices.Contains(words, "fixture") || slices.Contains(words, "fixtures") || slices.Contains(words, "mock"):
		return ClassFixture, "a fixture by its name"
	case slices.Contains(words, "example") || slices.Contains(words, "sample") || slices.Contains(words, "template") || ext == ".dist" || ext == ".tmpl":
		return ClassExample, "an example by its name"
	case slices.Contains(docExt, ext) || slices.Contains(words, "readme") || slices.Contains(words, "changelog"):
		return ClassDocs, "a document by its name"
	}
	return ClassProduction, "nothing in path or value says otherwise"
}
