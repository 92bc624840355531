package structured

import (
	"math"
	"strings"
)

// Reference reports whether a value is none itself but names one that is kept
// elsewhere: a template, an environment variable, a path in a vault.
func Reference(value string) bool { return reference(value) || format(value) }

// Placeholder says why a password is none that opens anything, and "" when it may.
func Placeholder(value string) string { return placeholder(value) }

// reference reports a value that names a secret kept elsewhere, or a template.
func reference(s string) bool {
	if len(s) == 0 {
		return true
	}
	for _, p := range []string{"${", "{{", "}}", "<%", "%>", "$(", "#{", "$[", "%(", "@{", "{%", "\\(", "getenv", "process.env", "os.environ", "ENV["} {
		if strings.Contains(s, p) {
			return true
		}
	}
	for _, p := range []string{
		"!", "ENC[", "ENC(", "op://", "vault:", "arn:aws:", "ssm:", "secret://", "keyring:", "env:", "file:", "{cipher}", "projects/", "sm://", "awssm:", "azurekeyvault",
		"@Microsoft.KeyVault", "secretsmanager:", "secretref:", "sops:", "bws:", "akv:", "gcpsm:", "hcvault:", "doppler:", "ansible-vault", "$ANSIBLE_VAULT", "kms:", "lookup(", "ref+",
	} {
		if strings.HasPrefix(s, p) && (p != "!" || len(s) > 1 && lower(s[1]) && strings.Contains(s, " ")) {
			return true
		}
	}
	first, last := s[0], s[len(s)-1]
	switch {
	case first == '$' && len(s) > 1 && (word(s[1]) && allWord(s[1:])):
		return strings.ToUpper(s) == s || strings.ToLower(s) == s || len(s) < 20
	case first == '%' && last == '%' && len(s) > 2, first == '<' && last == '>', first == '@' && last == '@' && len(s) > 2, first == '[' && last == ']', first == '{' && last == '}',
		first == '(' && last == ')', strings.HasPrefix(s, "__") && strings.HasSuffix(s, "__"), strings.HasPrefix(s, "%s"), strings.HasPrefix(s, "%v"), strings.HasPrefix(s, "%d"), first == '*' && last == '*' && len(s) > 6:
		return true
	}
	return false
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }

func word(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func allWord(s string) bool {
	for i := range len(s) {
		if !word(s[i]) {
			return false
		}
	}
	return true
}

// common are passwords that everyone has: defaults of images, words of manuals.
var common = func() map[string]bool {
	m := map[string]bool{}
	for s := range strings.FieldsSeq(`password passwd pass pwd secret token admin administrator root user username guest test tests testing tester demo foo bar baz foobar qux
		postgres postgresql mysql mariadb redis mongo mongodb rabbitmq rabbit sa oracle db database dbpass dbpassword mypassword my_password my-password mypass mysecret my_secret my-secret
		mysecretpassword my-secret-pw secretpassword supersecret super_secret super-secret topsecret somepassword some_password some-password p@ssw0rd p@ssword passw0rd pa55word password1 password12 password123
		password1234 password! pass123 pass1234 admin123 admin1234 root123 test123 test1234 testpass testpassword test_password test-password user123 userpass qwerty qwerty123 letmein welcome
		welcome1 123 1234 12345 123456 1234567 12345678 123456789 1234567890 000000 111111 abc abc123 abcd abcd1234 abcdef xxx xxxx string null none nil true false undefined empty todo tbd fixme
		value yourpassword hidden masked hunter2 default changeit secret123 minioadmin minio minio123 elastic grafana kafka airflow superset vagrant ubuntu pi docker local localhost dev
		development staging prod production example sample dummy fake mock temp tmp key keys apikey api_key api-key accesskey x y z me you bob alice pw p s t u a b c d username:password
		credentials credential private public optional required disabled enabled anonymous nobody postgrespassword mysqlpassword rootpassword root_password rootpass adminpassword adminpass
		not_a_secret notasecret nosecret unused ignored unknown redacted`) {
		m[s] = true
	}
	return m
}()

// placeholder says why a value is none that opens anything; "" when it may.
func placeholder(s string) string {
	if len(s) > 400 {
		return ""
	}
	low := strings.ToLower(s)
	if common[strings.Trim(low, "\"'`.,;!?_- ")] {
		return "a word that everyone uses in place of a password"
	}
	for _, w := range []string{
		"example", "placeholder", "changeme", "change_me", "change-me", "change_this", "change-this", "changethis", "change_it", "redacted", "replaceme", "replace_me", "replace-me", "replace_with", "replace-with",
		"insert_", "insert-your", "your_", "your-", "yourpass", "yourkey", "yoursecret", "yourtoken", "my_secret", "my-secret", "mysecret", "dummy", "notreal", "not_real", "not-real", "not-a-secret",
		"notasecret", "fakepass", "fake_", "fake-", "fakesecret", "faketoken", "sample", "enter_", "put_your", "put-your", "todo", "fixme", "_here", "-here", "goes_here", "xxxx", "****", "....", "----", "____",
		"<password", "<token", "<secret", "[password", "somesecret", "some-secret", "some_secret", "insecure", "test_secret", "test-secret", "testsecret", "deadbeef",
	} {
		if strings.Contains(low, w) {
			return "the value says that it is a placeholder"
		}
	}
	if len(s) >= 4 && strings.Count(s, s[:1]) == len(s) {
		return "the value repeats one character"
	}
	if run := counting(low); run >= 6 && 2*run >= len(s) {
		return "the value counts up, as made-up values do"
	}
	return ""
}

// counting is the length of the longest run that counts up by one.
func counting(s string) int {
	best, n := 1, 1
	for i := 1; i < len(s); i++ {
		if s[i] == s[i-1]+1 || s[i] == '0' && s[i-1] == '9' {
			n++
		} else {
			n = 1
		}
		best = max(best, n)
	}
	return best
}

// random is how much a value looks like one that nobody wrote by hand: 0 for
// words and code, 1 for what a person may have chosen, 2 for what a machine made.
func random(s string) int {
	var up, lo, digit, other, space int
	changes := 0 // of the class of characters
	last := 0
	for i := range len(s) {
		c, k := s[i], 0
		switch {
		case c >= 'A' && c <= 'Z':
			up++
			k = 1
		case lower(c):
			lo++
			k = 2
		case c >= '0' && c <= '9':
			digit++
			k = 3
		case c <= ' ' || c >= 0x7f:
			space++
			k = 4
		default:
			other++
			k = 5
		}
		if k != last {
			changes++
		}
		last = k
	}
	switch {
	case space > 0 || len(s) < 6:
		return 0
	case up+lo+digit == 0:
		return 0
	case len(s) >= 12 && digit > 0 && up+lo > 0 && entropy(s) >= 3 && changes >= 5 && other <= len(s)/4:
		return 2
	case len(s) >= 16 && up > 1 && lo > 1 && other <= 2 && entropy(s) >= 3.5 && changes >= len(s)/3:
		return 2
	case digit > 0 && up+lo > 0, other > 0 && up > 0 && lo > 0 && !code(s):
		return 1
	}
	return 0
}

// code reports what looks like an expression, a path or a dotted name.
func code(s string) bool {
	if strings.ContainsAny(s, "()[]{}<>;\\ \t") || strings.Contains(s, "://") || strings.Contains(s, "::") || strings.Contains(s, "->") || strings.Contains(s, "=>") {
		return true
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") || strings.HasPrefix(s, "~/") {
		return true
	}
	if strings.ContainsAny(s, "./") { // a.b.c, a/b/c of words
		ok := true
		for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == '/' || r == '-' || r == '_' }) {
			if !plainWord(part) {
				ok = false
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// plainWord reports a name: letters, perhaps with a number behind them.
func plainWord(s string) bool {
	i := 0
	for i < len(s) && (lower(s[i]) || s[i] >= 'A' && s[i] <= 'Z') {
		i++
	}
	return i > 0 && len(s)-i <= 2
}

func entropy(s string) float64 {
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	e := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}
