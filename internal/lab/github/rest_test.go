package github

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

func TestAppTokenIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	sign := func(method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
		s, err := jwt.NewWithClaims(method, claims).SignedString(key)
		must(t, err)
		return s
	}
	now := w.clock.now().Unix()
	stranger, err := w.lab.CreateApp(AppOptions{Name: "other", Owner: "octo"})
	must(t, err)
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"good":          {w.jwt(-time.Minute, 9*time.Minute), 200},
		"client id":     {sign(jwt.SigningMethodRS256, w.app.key, jwt.MapClaims{"iss": w.app.ClientID, "iat": now, "exp": now + 60}), 200},
		"expired":       {w.jwt(-20*time.Minute, -time.Second), 401},
		"too long":      {w.jwt(0, 11*time.Minute), 401},
		"from tomorrow": {w.jwt(time.Minute, 5*time.Minute), 401},
		"wrong key":     {sign(jwt.SigningMethodRS256, stranger.key, jwt.MapClaims{"iss": strconv.FormatInt(w.app.ID, 10), "iat": now, "exp": now + 60}), 401},
		"wrong method":  {sign(jwt.SigningMethodHS256, []byte("x"), jwt.MapClaims{"iss": strconv.FormatInt(w.app.ID, 10), "iat": now, "exp": now + 60}), 401},
		"unknown app":   {sign(jwt.SigningMethodRS256, w.app.key, jwt.MapClaims{"iss": "1", "iat": now, "exp": now + 60}), 401},
		"no times":      {sign(jwt.SigningMethodRS256, w.app.key, jwt.MapClaims{"iss": strconv.FormatInt(w.app.ID, 10)}), 401},
		"none":          {"", 401},
		"garbage":       {"a.b.c", 401},
	} {
		got, _, v := w.call("GET", "/app", c.token, "")
		if got != c.want {
			t.Errorf("%s: %d, want %d: %v", name, got, c.want, v)
		}
	}
	w.status(200, "GET", "/api/v3/app", w.jwt(0, time.Minute), "")
}

func TestInstallationToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	_, err := w.lab.CreateRepo("octo", "other", false)
	must(t, err)
	path := "/app/installations/" + strconv.FormatInt(w.in.ID, 10) + "/access_tokens"
	app := w.jwt(0, time.Minute)
	w.status(422, "POST", path, app, `{"repositories":["nowhere"]}`)
	w.status(422, "POST", path, app, `{"permissions":{"contents":"write"}}`)
	w.status(422, "POST", path, app, `{"permissions":{"issues":"read"}}`)
	w.status(400, "POST", path, app, `{`)
	w.status(404, "POST", "/app/installations/1/access_tokens", app, "")
	token := w.installationToken(`{"repositories":["other"]}`)
	v := w.status(200, "GET", "/installation/repositories?per_page=1", token, "").(map[string]any)
	if v["total_count"] != 1.0 || v["repositories"].([]any)[0].(map[string]any)["name"] != "other" {
		t.Errorf("repositories: %v", v)
	}
	w.status(404, "GET", "/repos/octo/shop", token, "")
	w.status(200, "GET", "/repos/octo/other", token, "")
	w.status(403, "GET", "/user", token, "")
	w.status(401, "GET", "/app", token, "")
	w.status(204, "DELETE", "/installation/token", token, "")
	w.status(401, "GET", "/installation/repositories", token, "")

	all := w.installationToken("")
	_, h, v2 := w.call("GET", "/installation/repositories?per_page=1", all, "")
	if !strings.Contains(h.Get("Link"), `rel="next"`) || v2.(map[string]any)["total_count"] != 2.0 {
		t.Errorf("pages: %q %v", h.Get("Link"), v2)
	}
	w.clock.add(time.Hour)
	w.status(401, "GET", "/installation/repositories", all, "")
	w.lab.SendInstallation(w.in, "suspend")
	w.status(403, "POST", path, w.jwt(0, time.Minute), "")
}

func TestStatelessInstallationToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Stateless: true})
	token := w.installationToken("")
	if !strings.HasPrefix(token, "ghs_"+strconv.FormatInt(w.app.ID, 10)+"_ey") || strings.Count(token, ".") != 2 || len(token) < 400 {
		t.Errorf("token of %d characters", len(token))
	}
	w.status(200, "GET", "/installation/repositories", token, "")
}

func TestUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	classic, err := w.lab.CreateToken("mona", KindClassic, "repo", "gist")
	must(t, err)
	_, h, v := w.call("GET", "/user", classic, "")
	if h.Get("X-OAuth-Scopes") != "repo, gist" || h.Get("X-GitHub-Request-Id") == "" || h.Get("X-RateLimit-Limit") != "5000" || v.(map[string]any)["login"] != "mona" {
		t.Errorf("headers %v, answer %v", h, v)
	}
	fine, err := w.lab.CreateToken("mona", KindFineGrained)
	must(t, err)
	_, h, _ = w.call("GET", "/user", fine, "")
	if _, ok := h["X-Oauth-Scopes"]; ok {
		t.Error("fine-grained token shows scopes")
	}
	v = w.status(401, "GET", "/user", "ghp_000000000000000000000000000000000000", "")
	if v.(map[string]any)["message"] != "Bad credentials" {
		t.Errorf("answer: %v", v)
	}
	w.status(401, "GET", "/user", "", "")
}

func TestTokenFormats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for kind, length := range map[string]int{KindClassic: 40, KindOAuth: 40, KindAppUser: 40, KindAppRefresh: 80, KindFineGrained: 93} {
		v, err := w.lab.CreateToken("mona", kind)
		must(t, err)
		if len(v) != length || !strings.HasPrefix(v, kind+"_") {
			t.Errorf("%s: %d characters", kind, len(v))
		}
	}
	// a value and checksum published with GitHub's format: CRC-32 of "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ" ends in 0mLq17
	if got := checksum62("zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"); got != "0mLq17" {
		t.Errorf("checksum %s", got)
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Seed: 3})
	token, err := w.lab.CreateToken("mona", KindClassic, "repo")
	must(t, err)
	other, err := w.lab.CreateToken("mona", KindOAuth)
	must(t, err)
	install := w.installationToken("")
	body := func(values ...string) string {
		b, err := json.Marshal(map[string]any{"credentials": values})
		must(t, err)
		return string(b)
	}
	w.status(403, "POST", "/credentials/revoke", token, body(token))
	w.status(422, "POST", "/credentials/revoke", "", `{}`)
	w.status(422, "POST", "/credentials/revoke", "", body())
	w.status(422, "POST", "/credentials/revoke", "", `{"credentials":"x"}`)
	w.status(422, "POST", "/credentials/revoke", "", `[`)
	w.status(422, "POST", "/credentials/revoke", "", body(make([]string, 1001)...))
	if st := w.lab.TokenState(token); !st.Alive || st.Accepted != 0 {
		t.Errorf("state: %+v", st)
	}
	w.status(202, "POST", "/credentials/revoke", "", body(token, install, "ghp_unknown"))
	st := w.lab.TokenState(token)
	if lag := st.RevokedAt.Sub(w.clock.now()); st.Accepted != 1 || lag < 0 || lag > 4*time.Second || !st.Alive {
		t.Errorf("state: %+v", st)
	}
	w.status(200, "GET", "/user", token, "")
	w.clock.add(4 * time.Second)
	w.status(401, "GET", "/user", token, "")
	w.status(200, "GET", "/user", other, "")
	w.status(200, "GET", "/installation/repositories", install, "")
	w.status(202, "POST", "/credentials/revoke", "", body(token))
	if n := w.lab.TokenState(token).Accepted; n != 2 {
		t.Errorf("%d accepted revocations, want 2: a double act would go unseen", n)
	}
}

func TestAnonymousLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{RevokeLimit: 2})
	for range 2 {
		w.status(202, "POST", "/credentials/revoke", "", `{"credentials":["x"]}`)
	}
	got, h, _ := w.call("POST", "/credentials/revoke", "", `{"credentials":["x"]}`)
	if got != 403 && got != 429 || h.Get("X-RateLimit-Remaining") != "0" || h.Get("X-RateLimit-Reset") == "" {
		t.Errorf("status %d, headers %v", got, h)
	}
	w.clock.add(time.Hour)
	w.status(202, "POST", "/credentials/revoke", "", `{"credentials":["x"]}`)
}

func TestAuditLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{AuditLag: time.Minute})
	leaked, err := w.lab.CreateToken("mona", KindClassic, "repo")
	must(t, err)
	auditor, err := w.lab.CreateToken("mona", KindClassic, "read:audit_log")
	must(t, err)
	for range 5 {
		req, err := http.NewRequest("GET", w.lab.APIURL()+"/user", nil)
		must(t, err)
		req.Header.Set("Authorization", "token "+leaked)
		req.Header.Set(HeaderSourceIP, "203.0.113.9")
		req.Header.Set("User-Agent", "curl/8")
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_ = resp.Body.Close()
	}
	query := "/orgs/octo/audit-log?per_page=2&phrase=" + url.QueryEscape(`hashed_token:"`+HashedToken(leaked)+`" created:>=2026-11-01`)
	if v := w.status(200, "GET", query, auditor, "").([]any); len(v) != 0 {
		t.Errorf("%d events before the lag", len(v))
	}
	w.clock.add(time.Minute)
	var all []any
	for next := query; next != ""; {
		code, h, v := w.call("GET", next, auditor, "")
		if code != 200 {
			t.Fatalf("status %d: %v", code, v)
		}
		all = append(all, v.([]any)...)
		next = ""
		if link, _, ok := strings.Cut(h.Get("Link"), ">; rel=\"next\""); ok {
			u, err := url.Parse(strings.TrimPrefix(link, "<"))
			must(t, err)
			next = u.RequestURI()
		}
	}
	if len(all) != 5 {
		t.Fatalf("%d events", len(all))
	}
	e := all[0].(map[string]any)
	if e["actor"] != "mona" || e["actor_ip"] != "203.0.113.9" || e["user_agent"] != "curl/8" || e["hashed_token"] != HashedToken(leaked) ||
		e["programmatic_access_type"] != "Personal access token (classic)" {
		t.Errorf("event: %v", e)
	}
	if n := len(w.lab.TokenUses(leaked)); n != 5 {
		t.Errorf("%d uses", n)
	}
	w.status(404, "GET", query, leaked, "")
	w.status(404, "GET", query, "", "")
	w.status(422, "GET", "/orgs/octo/audit-log?phrase=nonsense", auditor, "")
	_, err = w.lab.CreateOrg("free", "free", "mona")
	must(t, err)
	w.status(404, "GET", "/orgs/free/audit-log", auditor, "")
}

func TestDeliveriesCanBeListedAndRedelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.hook.status = 500
	must(t, w.lab.SendPing(w.app.ID))
	head, _ := w.last("ping")
	app := w.jwt(0, 9*time.Minute)
	list := w.status(200, "GET", "/app/hook/deliveries?per_page=1", app, "").([]any)
	d := list[0].(map[string]any)
	if d["status_code"] != 500.0 || d["guid"] != head.Get("X-GitHub-Delivery") || d["redelivery"] != false {
		t.Errorf("delivery: %v", d)
	}
	if n := w.count("ping"); n != 1 {
		t.Errorf("%d attempts: GitHub does not retry", n)
	}
	id := strconv.FormatInt(int64(d["id"].(float64)), 10)
	w.status(200, "GET", "/app/hook/deliveries/"+id, app, "")
	w.hook.mu.Lock()
	w.hook.status = 202
	w.hook.mu.Unlock()
	w.status(202, "POST", "/app/hook/deliveries/"+id+"/attempts", app, "")
	again, _ := w.last("ping")
	if again.Get("X-GitHub-Delivery") != head.Get("X-GitHub-Delivery") || w.count("ping") != 2 {
		t.Error("redelivery has another GUID")
	}
	w.clock.add(3*24*time.Hour + time.Second)
	list = w.status(200, "GET", "/app/hook/deliveries", w.jwt(0, time.Minute), "").([]any)
	if len(list) != 0 {
		t.Errorf("%d deliveries after three days", len(list))
	}
}

func TestMisbehaviour(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (codes string) {
		w := newWorld(t, Options{Seed: seed, Faults: &Faults{TooMany: 0.2, ServerError: 0.2, LostAnswer: 0.2}})
		token, err := w.lab.CreateToken("mona", KindClassic)
		must(t, err)
		for range 40 {
			req, err := http.NewRequest("GET", w.lab.APIURL()+"/user", nil)
			must(t, err)
			req.Close = true
			req.Header.Set("Authorization", "token "+token)
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				codes += "cut "
				continue
			}
			if resp.StatusCode == 429 && resp.Header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
			codes += strconv.Itoa(resp.StatusCode) + " "
			_ = resp.Body.Close()
		}
		return codes
	}
	first := run(5)
	for _, want := range []string{"429", "50", "cut", "200"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %s in %s", want, first)
		}
	}
	if again := run(5); again != first {
		t.Errorf("same seed, other faults:\n%s\n%s", first, again)
	}
}

func TestLostAnswerHasItsEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Faults: &Faults{LostAnswer: 1}})
	token, err := w.lab.CreateToken("mona", KindClassic)
	must(t, err)
	_, err = http.Post(w.lab.APIURL()+"/credentials/revoke", "application/json", strings.NewReader(`{"credentials":["`+token+`"]}`))
	if err == nil {
		t.Fatal("the answer came")
	}
	if n := w.lab.TokenState(token).Accepted; n < 1 {
		t.Errorf("%d accepted revocations", n)
	}
}

func TestDuplicatedDeliveries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Faults: &Faults{Duplicate: 1, MaxDelay: time.Millisecond}})
	must(t, w.lab.SendPing(w.app.ID))
	if n := w.count("ping"); n != 2 {
		t.Errorf("%d deliveries", n)
	}
}
