package acthttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard/egress"
)

func builder(t *testing.T) *Driver {
	t.Helper()
	c, err := egress.NewClient(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Client: c})
}

var api = target{provider: "x", baseURL: "https://api.x.example", hosts: []string{"api.x.example"}}

// hostile values that a leak could hold in place of a token or an id.
var hostile = []string{"../../admin", "a/b", "a?b=c", "a#b", "a%2fb", "@evil.example", "a b", "a\r\nX-Evil: 1", "a\x00b", `"},"admin":true,"x":{"`, "é", "//evil.example", "..", ".", "a&b=c", "${part.other}"}

func TestValuesStayInTheirPlace(t *testing.T) {
	d := builder(t)
	r := &playbooks.Request{Method: "POST", Path: "/v1/tokens/${part.token}/x?q=${part.token}", JSON: map[string]any{"t": "${part.token}", "n": uint64(3)}}
	for _, h := range hostile {
		v := &values{s: act.Subject{Parts: map[string]secret.Value{"token": secret.New(h)}}}
		req, err := d.build(context.Background(), api, r, v)
		if err != nil {
			var bad *unsendable
			if !errors.As(err, &bad) {
				t.Errorf("%q: %v", h, err)
			}
			continue
		}
		if req.URL.Host != "api.x.example" || req.URL.User != nil || req.URL.Fragment != "" {
			t.Errorf("%q: went to %s", h, req.URL)
		}
		if !strings.HasPrefix(req.URL.EscapedPath(), "/v1/tokens/") || !strings.HasSuffix(req.URL.EscapedPath(), "/x") || strings.Count(req.URL.EscapedPath(), "/") != 4 {
			t.Errorf("%q: path %s", h, req.URL.EscapedPath())
		}
		if q := req.URL.Query(); len(q) != 1 || q.Get("q") != h {
			t.Errorf("%q: query %v", h, q)
		}
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		m := tree.(map[string]any)
		if len(m) != 2 || m["t"] != h && h != "é" {
			t.Errorf("%q: body %s", h, b)
		}
	}
}

func TestHeadersCannotBeSplit(t *testing.T) {
	d := builder(t)
	for _, a := range []*playbooks.Auth{{Bearer: "${part.token}"}, {Token: "${part.token}"}, {Header: map[string]string{"X-Key": "${part.token}"}}} {
		r := &playbooks.Request{Method: "GET", Path: "/", Auth: a}
		for _, h := range []string{"a\r\nX: y", "a\nb", "a\x00", "é", "a\x7f"} {
			v := &values{s: act.Subject{Parts: map[string]secret.Value{"token": secret.New(h)}}}
			_, err := d.build(context.Background(), api, r, v)
			var bad *unsendable
			if !errors.As(err, &bad) || strings.Contains(err.Error(), h) {
				t.Errorf("%q: %v", h, err)
			}
		}
	}
}

func TestHostOutOfTheLeak(t *testing.T) {
	d := builder(t)
	tg := target{provider: "x", baseURL: "https://${part.host}"}
	r := &playbooks.Request{Method: "GET", Path: "/user"}
	for h, ok := range map[string]bool{"gitlab.corp.example": true, "gitlab.corp.example:8443": true, "a@b": false, "a/b": false, "a?b": false, "[::1]": false,
		"127.0.0.1": false, "::1": false, "a b": false, "a\\b": false, "": false, "a#b": false, "a:b:c": false} {
		v := &values{s: act.Subject{Parts: map[string]secret.Value{"host": secret.New(h)}}}
		req, err := d.build(context.Background(), tg, r, v)
		if (err == nil) != ok {
			t.Errorf("%q: %v", h, err)
		}
		if err == nil && req.URL.Host != h {
			t.Errorf("%q: went to %s", h, req.URL.Host)
		}
	}
}

func TestHostMustBeListed(t *testing.T) {
	d := builder(t)
	r := &playbooks.Request{Method: "GET", Path: "/", BaseURL: "https://evil.example"}
	_, err := d.build(context.Background(), api, r, &values{})
	if err == nil {
		t.Error("a host outside the playbook's list was accepted")
	}
}

func TestUndoByRequest(t *testing.T) {
	file := `
provider: corp
title: Corp
hosts: [api.corp.example]
base_url: https://api.corp.example
credentials:
  - kind: admin_key
    title: Corp admin key
    rules: [corp-key]
    parts:
      - {name: key_id, public: true, required: true}
      - {name: token, required: true}
    identify:
      with: leaked
      request: {method: GET, path: /me, auth: {bearer: "${part.token}"}}
      live: status == 200 && body.id != ""
      dead: status == 401 && body.error == "invalid_key"
      capture: {id: body.id}
      identity: id
    contain:
      - name: disable
        level: 1
        with: admin
        binding: identified
        reversible: true
        collateral: nothing else
        settle: 1s
        request: {method: POST, path: "/keys/${fact.id}/disable", auth: {header: {X-Admin: "${admin.token}"}}}
        accepted: status == 200
        undo_request: {method: POST, path: "/keys/${fact.id}/enable?by=${part.key_id}", auth: {header: {X-Admin: "${admin.token}"}}}
        undo_accepted: status == 200
    prove: {consecutive: 2, interval: 1s, deadline: 1m}
`
	dir := t.TempDir()
	writeFile(t, dir+"/corp.yaml", file)
	set, err := playbooks.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := set.ByKind("corp", "admin_key")
	var got []string
	d := driver(t, func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("X-Admin"))
		reply(200, jsonType, `{"id":"k1"}`)(w, r)
	})
	d.o.BaseURLs["corp"] = d.o.BaseURLs["github"]
	s := act.Subject{Provider: "corp", Kind: "admin_key", PublicID: "pub", Parts: map[string]secret.Value{"key_id": secret.New("pub"), "token": secret.New("t0psecret")}}
	v := d.Identify(context.Background(), c, s)
	s.Facts = v.Facts
	_, err = d.Act(context.Background(), c.Contain[0], s, false)
	if !errors.Is(err, act.ErrPerson) {
		t.Fatalf("without an enrolled credential: %v", err)
	}
	d.o.Admin = func(context.Context, string) (map[string]secret.Value, error) {
		return map[string]secret.Value{"token": secret.New("adm")}, nil
	}
	e, err := d.Act(context.Background(), c.Contain[0], s, false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Undo(context.Background(), c.Contain[0], act.Subject{Provider: "corp", Kind: "admin_key"}, e.Undo)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"GET /me ", "POST /keys/k1/disable adm", "POST /keys/k1/enable?by=pub adm"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Fatalf("got %q", got)
	}
	assertSilent(t, e)
}
