package scanner

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"stanch/scanner/rules"
	"stanch/scanner/structured"
)

// assess fills in class, confidence, their reasons and suppression. What the
// notation of a value has told already is kept.
func assess(f *Finding) {
	if f.judged {
		return
	}
	f.judged = true
	value := f.Secret.Reveal()
	conf := 2 // 1 low, 2 medium, 3 high
	_, typed := rules.Of(f.Rule, value)
	switch {
	case f.Confidence != "":
		conf = confidenceRank(f.Confidence) + 1
	case strings.Contains(f.Rule, "generic") || f.Rule == "pkcs12-file" || slices.Contains(f.Tags, tagNearKeyID):
		conf = 1
	case f.Rule == "basic-auth-header" || f.Rule == "bearer-header": // only the form tells
		conf = 1
	}
	say := func(delta int, reason string) {
		conf += delta
		f.Reasons = append(f.Reasons, reason)
	}
	proved := false
	switch {
	case f.Provider == "github" && typed:
		proved = assessGitHub(value, say)
	case rules.Checksum(value) == rules.Passed:
		say(1, "the checksum in the token holds")
		proved = true
	case rules.Checksum(value) == rules.Failed:
		say(-1, "the checksum in the token does not hold: altered, cut or made up")
	case f.Part == PartAccessKeyID && f.Provider == "aws":
		assessAWS(f, value, say)
	case slices.Contains(f.Tags, tagNearKeyID):
		say(0, "stands near an AWS access key id, near no word that names it")
	case f.Part == PartSecretAccessKey && f.Provider == "aws" && !rules.PlausibleAWSSecret(value):
		say(-1, "does not look random: no mix of upper case, lower case and digits")
	case f.Kind == "private_key" && strings.Contains(value, "PRIVATE KEY"):
		assessKey(f, value, say)
	case f.Rule == "jwt" || f.Rule == "jwt-base64":
		assessJWT(f, value, say)
	}
	if typed && !proved {
		why, check := rules.Explain(value)
		switch {
		case why == "":
		case check == rules.Passed:
			say(1, why)
		case check == rules.Failed:
			say(-1, why)
		default:
			say(0, why)
		}
	}
	if !typed && f.Provider == "" {
		f.Reasons = append(f.Reasons, "the rule names no provider")
	}
	if f.Class == "" && !proved {
		f.Class, f.ClassReason = classOfValue(f, value)
	}
	if f.Class == "" {
		f.Class, f.ClassReason = classOfPath(f.Place)
	}
	if f.Class == ClassProduction && f.hint != "" {
		f.Class, f.ClassReason = ClassExample, f.hint
	}
	switch f.Class {
	case ClassPlaceholder:
		conf = 1
		f.Suppressed = f.ClassReason
		say(0, f.ClassReason)
	case ClassFixture, ClassDocs, ClassExample, ClassPublic:
		say(-1, f.ClassReason)
	}
	if !proved && ascending(value) {
		say(-1, "counts up or runs through the alphabet, as made-up values do")
	}
	if len(f.Reasons) == 0 {
		say(0, "has the form that its rule describes")
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

// fillers are words of values that someone wrote in place of a secret.
var fillers = []string{
	"example", "placeholder", "changeme", "change_me", "change-me", "notarealkey", "notreal", "redacted", "replaceme", "replace_me", "replace-me", "replace_with", "insert_your", "your_api", "your-api", "yourapikey",
	"your_token", "your-token", "yourtoken", "your_secret", "your-secret", "yoursecret", "your_key", "your-key", "your_password", "dummy", "fakekey", "fake_", "fake-", "faketoken", "xxxxxx", "******", "not_a_real", "not-a-real", "sample_", "sample-", "samplekey", "_here", "-here",
}

// classOfValue says what the value itself gives away; "" when nothing.
func classOfValue(f *Finding, value string) (Class, string) {
	if f.Provider == "aws" && (rules.IsDocumentationKey(value) || f.Part == PartSessionToken && (strings.Contains(value, "EXAMPLE") || strings.HasPrefix(value, "SAMPLE"))) {
		return ClassPlaceholder, "a key from AWS' documentation"
	}
	if f.Rule == "jwt" && f.Provider == "" {
		if !tokenOfJSON(value) {
			return ClassPlaceholder, "no JWT: its header or its payload is no JSON"
		}
	}
	k, _ := rules.Of(f.Rule, value)
	if k.Public && f.Part != PartAccessKeyID {
		return ClassPublic, "an identifier that is no secret by itself"
	}
	if f.Part == PartAccessKeyID && f.Provider != "aws" {
		return "", ""
	}
	if f.Rule == "kubernetes-secret-yaml" {
		key, _, _ := strings.Cut(value, ":")
		if strings.HasSuffix(key, ".crt") || strings.Contains(value, "LS0tLS1CRUdJTiBDRVJUSUZJQ0FUR") {
			return ClassPublic, "a certificate, which is public"
		}
	}
	if f.Kind == "private_key" || f.Rule == "private-key" {
		return "", ""
	}
	lower := strings.ToLower(value)
	if len(value) <= 100 { // in longer ones a word can stand by chance, and base64 can hold a run of zeros
		for _, w := range fillers {
			if strings.Contains(lower, w) {
				return ClassPlaceholder, "the value says that it is a placeholder"
			}
		}
		if sameRun(value) >= 10 {
			return ClassPlaceholder, "the value repeats one character"
		}
		if longest, all := countingRuns(lower); longest >= 10 && (2*longest >= len(value) || 5*all >= 4*len(value)) {
			return ClassPlaceholder, "the value counts up, as made-up values do"
		}
	}
	if f.Part == "password" && !strings.HasPrefix(f.Rule, "structured-") { // a rule for passwords finds words too
		if structured.Reference(value) {
			return ClassPlaceholder, "names a secret that is kept elsewhere"
		}
		if why := structured.Placeholder(value); why != "" {
			return ClassPlaceholder, why
		}
	}
	switch {
	case f.Part == PartSecretAccessKey && f.Provider == "aws" && !strings.ContainsAny(value, "0123456789"), strings.Contains(f.Rule, "generic") && readsAsName(value):
		return ClassPlaceholder, "reads as a name, not as random characters"
	case strings.Contains(f.Rule, "generic") && isChecksum(f, value):
		return ClassPublic, "a checksum or an id by the name that it stands under"
	case lockFiles[path.Base(f.Place.Path)] && strings.Contains(f.Rule, "generic"):
		return ClassPublic, "a checksum in a lock file"
	case publishable(value):
		return ClassPublic, "a key that is made to be published"
	}
	return "", ""
}

var lockFiles = map[string]bool{
	"package-lock.json": true, "npm-shrinkwrap.json": true, "yarn.lock": true, "pnpm-lock.yaml": true, "bun.lock": true, "go.sum": true, "Cargo.lock": true, "poetry.lock": true, "Pipfile.lock": true, "uv.lock": true,
	"composer.lock": true, "Gemfile.lock": true, "mix.lock": true, "packages.lock.json": true, "gradle.lockfile": true, "Podfile.lock": true, "flake.lock": true, ".terraform.lock.hcl": true, "Package.resolved": true,
}

// publishable are keys whose makers say that they belong into web pages.
func publishable(value string) bool {
	for _, p := range []string{"pk_live_", "pk_test_", "sb_publishable_", "phc_", "pk.eyJ", "rzp_test_"} {
		if strings.HasPrefix(value, p) {
			return true
		}
	}
	return false
}

// isChecksum reports a value of hexadecimal digits or a UUID under a name for
// what is public: a checksum, a commit, a version.
func isChecksum(f *Finding, value string) bool {
	for i := range len(value) {
		c := value[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') && c != '-' {
			return strings.HasPrefix(value, "sha256-") || strings.HasPrefix(value, "sha384-") || strings.HasPrefix(value, "sha512-")
		}
	}
	name, _, _ := strings.Cut(strings.ToLower(f.Match.Reveal()), strings.ToLower(value))
	for _, w := range []string{"sha1", "sha256", "sha512", "sha_", "checksum", "digest", "integrity", "md5", "hash", "etag", "fingerprint", "commit", "revision", "guid", "uuid", "keyid", "key_id", "key-id", "key id", "thumbprint", "publickeytoken"} {
		if strings.Contains(name, w) {
			return true
		}
	}
	return false
}

// readsAsName reports words joined by points, dashes, slashes or capitals, with at
// most two digits in a row: an identifier of some program.
func readsAsName(s string) bool {
	words, letters, digits, changes := 0, 0, 0, 0
	run := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
			letters++
			if i == 0 || !letter(s[i-1]) || c <= 'Z' && s[i-1] >= 'a' {
				words++
			}
			if i > 0 && letter(s[i-1]) && (c <= 'Z') != (s[i-1] <= 'Z') {
				changes++
			}
			run = 0
		case c >= '0' && c <= '9':
			digits++
			run++
			if run > 4 || run > 2 && i+1 < len(s) && letter(s[i+1]) {
				return false
			}
		case c == '.' || c == '-' || c == '_' || c == '/' || c == ':' || c == ',' || c == '@' || c == ' ':
			run = 0
		default:
			return false
		}
	}
	return letters >= 6 && digits <= 4 && words > 0 && letters >= 3*words && changes <= 2*words && 3*digits <= letters
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// countingRuns are the length of the longest run that counts up by one, and of
// all such runs of five or more together.
func countingRuns(s string) (longest, all int) {
	n := 1
	for i := 1; i <= len(s); i++ {
		if i < len(s) && (s[i] == s[i-1]+1 || s[i] == '0' && s[i-1] == '9' || s[i] == 'a' && s[i-1] == '9') {
			n++
			continue
		}
		if n >= 5 {
			all += n
		}
		longest, n = max(longest, n), 1
	}
	return longest, all
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

// segments are names of directories that say what stands in them.
var segments = func() map[string]Class {
	m := map[string]Class{}
	for c, words := range map[Class]string{
		ClassFixture: `test tests testing testdata test-data test_data testfixtures __tests__ __test__ spec specs fixture fixtures __fixtures__ mock mocks __mocks__ fake fakes stub stubs e2e e2e-tests integration-tests integration_tests
			integrationtest integrationtests unittest unittests functional-tests testutil testutils testhelpers test-helpers testlib cassettes vcr_cassettes __snapshots__ snapshots golden goldens testcases test-cases corpus corpora fuzz
			benchmark benchmarks bench src-test androidtest testing-data mockdata mock-data testserver sandbox testresources test-resources testassets conformance cypress playwright storybook stories`,
		ClassDocs:    "doc docs documentation website man manual changelog changelogs readme wiki guides guide docs-site site blog posts content release-notes rfcs proposals adr javadoc apidocs",
		ClassExample: "example examples _examples sample samples demo demos tutorial tutorials template templates quickstart quickstarts getting-started playground boilerplate starter starters cookbook recipes workshop",
	} {
		for w := range strings.FieldsSeq(words) {
			m[w] = c
		}
	}
	return m
}()

// foreign are directories of copies of other people's code.
var foreign = map[string]bool{
	"vendor": true, "node_modules": true, "third_party": true, "third-party": true, "thirdparty": true, "bower_components": true, "site-packages": true, "pods": true, "external": true, "godeps": true, "_vendor": true, "vendored": true,
}

var docExt = []string{".md", ".mdx", ".rst", ".adoc", ".asciidoc", ".markdown", ".mkd", ".pod", ".tex", ".texi", ".1", ".3", ".5", ".8", ".rdoc", ".textile", ".wiki"}

// classOfPath says what kind of place a path is; the reason names what told it.
func classOfPath(p Place) (Class, string) {
	switch p.Object {
	case "", "blob":
	default:
		return ClassProduction, "in a " + p.Object
	}
	lower := strings.ToLower(strings.ReplaceAll(p.Path, "!", "/")) // a file in an archive
	parts := strings.Split(lower, "/")
	base := parts[len(parts)-1]
	class, reason := Class(""), ""
	for _, d := range parts[:len(parts)-1] {
		c := segments[d]
		switch {
		case c == "" && (strings.HasSuffix(d, "_test") || strings.HasSuffix(d, "-test") || strings.HasSuffix(d, "_tests") || strings.HasSuffix(d, "-tests") || strings.HasPrefix(d, "test_") || strings.HasPrefix(d, "test-") || strings.HasPrefix(d, "testdata") ||
			strings.HasSuffix(d, ".tests") || strings.HasSuffix(d, ".test") || strings.HasSuffix(d, "testing")):
			c = ClassFixture
		case c == "" && (strings.HasSuffix(d, "-examples") || strings.HasSuffix(d, "_examples") || strings.HasSuffix(d, "-example") || strings.HasSuffix(d, "-samples")):
			c = ClassExample
		}
		switch {
		case c == ClassFixture: // tests of examples are tests
			return c, "in a directory of tests: " + d
		case class != "":
		case c == ClassExample:
			class, reason = c, "in a directory of examples: "+d
		case c == ClassDocs:
			class, reason = c, "in a directory of documentation: "+d
		case foreign[d]:
			class, reason = ClassFixture, "in a copy of foreign code: "+d
		}
	}
	ext := path.Ext(base)
	stem := strings.TrimSuffix(base, ext)
	words := strings.FieldsFunc(base, func(r rune) bool { return r == '.' || r == '_' || r == '-' })
	has := func(names ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(names, w) })
	}
	switch {
	case strings.HasSuffix(stem, "_test") || strings.HasSuffix(stem, ".test") || strings.HasSuffix(stem, ".spec") || strings.HasSuffix(stem, "_spec") || strings.HasSuffix(stem, ".tests") ||
		strings.HasPrefix(base, "test_") || strings.HasPrefix(base, "test-") || base == "conftest.py" ||
		(strings.HasSuffix(stem, "test") || strings.HasSuffix(stem, "tests") || strings.HasSuffix(stem, "testcase")) && slices.Contains([]string{".java", ".kt", ".cs", ".php", ".scala", ".groovy", ".swift", ".vb", ".m"}, ext):
		return ClassFixture, "a test file by its name"
	case has("fixture", "fixtures", "mock", "mocks", "testdata", "cassette", "stories"):
		return ClassFixture, "a fixture by its name"
	case class != "":
		return class, reason
	case has("test", "tests", "testing") && ext != ".env" && !strings.HasPrefix(base, ".env"):
		return ClassFixture, "a test file by its name"
	case has("example", "sample", "template", "examples", "samples", "demo", "tmpl") || ext == ".dist" || ext == ".tpl" || ext == ".j2":
		return ClassExample, "an example by its name"
	case slices.Contains(docExt, ext) || has("readme", "changelog", "changes", "contributing", "history"):
		return ClassDocs, "a document by its name"
	}
	return ClassProduction, "nothing in path or value says otherwise"
}

// hints are words of a comment that say that a value beside it opens nothing.
var hints = []string{"example", "fake", "dummy", "placeholder", "sample", "not real", "not a real", "for test", "test only", "testing only", "for demo", "mock", "throwaway", "throw-away", "bogus", "made up", "made-up", "not a secret", "no secret"}

// hintOf reads the comments on the line of a finding, and the one above it.
func hintOf(text []byte, offset int) string {
	if offset >= len(text) {
		return ""
	}
	from, to := offset, offset
	for from > 0 && offset-from < 512 && text[from-1] != '\n' {
		from--
	}
	for to < len(text) && to-offset < 512 && text[to] != '\n' {
		to++
	}
	if word := hintIn(comment(text[from:to], offset-from)); word != "" {
		return "a comment on the line says " + word
	}
	if from == 0 || text[from-1] != '\n' {
		return ""
	}
	above := from - 1
	for above > 0 && from-above < 512 && text[above-1] != '\n' {
		above--
	}
	line := bytes.TrimSpace(text[above : from-1])
	if c := comment(line, 0); len(c) > 0 && len(c) == len(line) {
		if word := hintIn(c); word != "" {
			return "the comment above says " + word
		}
	}
	return ""
}

// comment is the part of a line from where a comment begins: anywhere in front of
// at when the whole line is one, else behind it.
func comment(line []byte, at int) []byte {
	trimmed := bytes.TrimLeft(line, " \t")
	for _, m := range []string{"#", "//", "--", "/*", "*", ";", "<!--", "%", "rem "} {
		if bytes.HasPrefix(trimmed, []byte(m)) {
			return trimmed
		}
	}
	for _, m := range []string{" #", "\t#", " //", "\t//", " --", "/*", "<!--"} {
		n := bytes.Index(line[min(at, len(line)):], []byte(m))
		if n >= 0 {
			return line[at+n:]
		}
	}
	return nil
}

func hintIn(comment []byte) string {
	if len(comment) == 0 {
		return ""
	}
	low := strings.ToLower(string(comment))
	for _, h := range hints {
		if strings.Contains(low, h) {
			return "\"" + h + "\""
		}
	}
	return ""
}
