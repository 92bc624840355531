package structured

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// pieces are lines in which something stands, and lines in which nothing does.
var pieces = []string{
	"plain text\n", "x := y(z)\n", "token\n", "password =\n", "me@home.org\n", strings.Repeat("long line ", 300), "\n", "\n", "@", ":", "://", "\"", "'", "=",
	"db = postgres://app:" + pw + "@db.corp.io/x\n", "password=" + pw2 + "\n", "API_KEY: \"" + tok + "\"\n", "DB_HOST=h1.corp.io\n", "mysql -p" + pw2 + " db\n", "Authorization: Bearer " + tok + "\n",
	"root:" + pw2 + "@tcp(h:3306)/db\n", "IDENTIFIED BY '" + pw + "'\n", "CREATE USER bob ", "machine h.corp.io login bob password " + pw2 + "\n", "define('DB_PASSWORD', '" + pw2 + "');\n", "define('DB_HOST', 'h9');\n",
	"kind: Secret\ndata:\n  p: " + b64(pw2) + "\n", "apiVersion: v1\n", "[pypi]\nusername: u\npassword: " + pw2 + "\n", "<server><id>a</id><password>" + pw2 + "</password></server>\n", "Server=h1;User Id=u;Password=" + pw2 + ";\n", "sec", "ret: ",
	"api_key: |\n", "    " + tok + "\n", "a.secret=" + tok[:16] + "\\\n", "INSERT INTO users VALUES (1,'" + tok + "');\n", "CREATE TABLE users (id int, api_token text);\n", "COPY users (a, token) FROM stdin;\n", "1\t" + tok + "\n", "kind: Config\nusers:\n- name: a\n  user:\n    password: " + pw2 + "\n",
	"User name,Password,Secret access key,Console login link\n", "bob," + pw2 + ",,x\n", "curl -u bob:" + pw2 + " x\n",
}

func TestDeltaGivesWhatTheWholeGives(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		return b.String()
	}
	for range 100 {
		old := []byte(some(2 + r.IntN(60)))
		_, seen := Anywhere(old)
		for range 4 {
			var data []byte
			var copies []Copy
			for len(data) == 0 || r.IntN(4) > 0 {
				if r.IntN(2) == 0 {
					data = append(data, some(r.IntN(3))...)
				}
				from := r.IntN(len(old) + 1)
				n := r.IntN(len(old) - from + 1)
				if n > 0 {
					copies = append(copies, Copy{Old: from, New: len(data), Len: n})
					data = append(data, old[from:from+n]...)
				}
			}
			want, _ := Anywhere(data)
			got, next := Delta(data, seen, copies)
			for _, name := range []string{"a.go", ".env", "x.yml", "settings.xml", ".netrc", ".pypirc"} {
				g, w := At(got, name), At(want, name)
				if !reflect.DeepEqual(g, w) {
					t.Fatalf("%s: %s\ngot  %s\nwant %s\nold %q\nnew %q\n%v", name, fmt.Sprint(len(g), len(w)), showAll(g), showAll(w), old, data, copies)
				}
			}
			old, seen = data, next
			if len(old) == 0 {
				break
			}
		}
	}
}

func showAll(hs []Hit) string {
	var out []string
	for _, h := range hs {
		out = append(out, fmt.Sprint(h.Start, " ", show(h)))
	}
	return strings.Join(out, "\n     ")
}
