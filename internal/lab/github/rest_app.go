package github

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

func (s *Server) getApp(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.json(200, s.app(c.from.app))
}

func (s *Server) listInstallations(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []int64
	for id, in := range s.installs {
		if in.App == c.from.app {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	out := []map[string]any{}
	for _, id := range pageOf(c, ids) {
		out = append(out, s.installation(s.installs[id]))
	}
	c.json(200, out)
}

// installationOf wants s.mu; it answers 404 itself.
func (s *Server) installationOf(c *call) *Installation {
	id, _ := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	in := s.installs[id]
	if in == nil || in.App != c.from.app {
		c.fail(404, "Not Found", "/apps/apps")
		return nil
	}
	return in
}

func (s *Server) getInstallation(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in := s.installationOf(c); in != nil {
		c.json(200, s.installation(in))
	}
}

func (s *Server) getRepoInstallation(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repos[strings.ToLower(c.r.PathValue("owner")+"/"+c.r.PathValue("repo"))]
	for _, in := range s.installs {
		if repo != nil && in.App == c.from.app && in.covers(repo) {
			c.json(200, s.installation(in))
			return
		}
	}
	c.fail(404, "Not Found", "/apps/apps#get-a-repository-installation-for-the-authenticated-app")
}

// narrowing is the body of POST access_tokens.
type narrowing struct {
	Repositories  []string          `json:"repositories"`
	RepositoryIDs []int64           `json:"repository_ids"`
	Permissions   map[string]string `json:"permissions"`
}

func (s *Server) postAccessToken(c *call) {
	const doc = "/apps/apps#create-an-installation-access-token-for-an-app"
	body, err := io.ReadAll(io.LimitReader(c.r.Body, 1<<20))
	var n narrowing
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, &n)
	}
	if err != nil {
		c.fail(400, "Problems parsing JSON", doc)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.installationOf(c)
	if in == nil {
		return
	}
	if !in.Suspended.IsZero() {
		c.fail(403, "This installation has been suspended", doc)
		return
	}
	repos, ok := s.narrowRepos(in, n)
	if !ok {
		c.fail(422, "There is at least one repository that does not exist or is not accessible to the parent installation.", doc)
		return
	}
	permissions, ok := narrowPermissions(in.App.Permissions, n.Permissions)
	if !ok {
		c.fail(422, "The permissions requested are not granted to this installation.", doc)
		return
	}
	t := &token{
		id: s.nextID(), kind: kindServer, owner: in.Account, created: s.now(), expires: s.now().Add(time.Hour),
		install: in, repos: map[int64]bool{}, permissions: permissions, perRequest: len(repos) > 0,
	}
	for _, r := range repos {
		t.repos[r.ID] = true
	}
	t.value = s.serverToken(c.r, in, t)
	s.tokens[t.value] = t
	answer := map[string]any{
		"token": t.value, "expires_at": stamp(t.expires), "permissions": permissions, "repository_selection": "all",
	}
	if in.Selected != nil || t.perRequest {
		answer["repository_selection"] = "selected"
	}
	if t.perRequest {
		list := []map[string]any{}
		for _, r := range repos {
			list = append(list, s.repository(r))
		}
		answer["repositories"] = list
	}
	c.json(201, answer)
}

// narrowRepos wants s.mu. None asked for means all of the installation.
func (s *Server) narrowRepos(in *Installation, n narrowing) ([]*Repo, bool) {
	var out []*Repo
	for _, name := range n.Repositories {
		r := s.repos[strings.ToLower(in.Account.Login+"/"+name)]
		if r == nil || !in.covers(r) {
			return nil, false
		}
		out = append(out, r)
	}
	for _, id := range n.RepositoryIDs {
		i := slices.IndexFunc(s.reposOf(in), func(r *Repo) bool { return r.ID == id })
		if i < 0 {
			return nil, false
		}
		out = append(out, s.reposOf(in)[i])
	}
	return out, true
}

func narrowPermissions(granted, asked map[string]string) (map[string]string, bool) {
	if len(asked) == 0 {
		return maps.Clone(granted), true
	}
	out := map[string]string{"metadata": "read"}
	for name, level := range asked {
		have := granted[name]
		if have == "" || level != "read" && level != have || level != "read" && level != "write" {
			return nil, false
		}
		out[name] = level
	}
	return out, true
}

// serverToken wants s.mu. The long form came in 2026: ghs_, the App's id and a
// signed token, about 520 characters with dots.
func (s *Server) serverToken(r *http.Request, in *Installation, t *token) string {
	form := r.Header.Get("X-GitHub-Stateless-S2S-Token")
	if form == "disabled" || form != "enabled" && !s.opts.Stateless {
		return tokenValue(s.rng, kindServer)
	}
	claims := jwt.MapClaims{
		"iss": "github", "aud": "api", "sub": strconv.FormatInt(in.ID, 10), "jti": randomText(s.rng, 32),
		"iat": t.created.Unix(), "exp": t.expires.Unix(), "kid": randomText(s.rng, 12),
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(in.App.key)
	if err != nil {
		return tokenValue(s.rng, kindServer)
	}
	return fmt.Sprintf("%s_%d_%s", kindServer, in.App.ID, signed)
}

func (s *Server) listRepositories(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Repo
	for _, r := range s.reposOf(c.from.tok.install) {
		if c.from.tok.reaches(r) {
			all = append(all, r)
		}
	}
	out := []map[string]any{}
	for _, r := range pageOf(c, all) {
		out = append(out, s.repository(r))
	}
	selection := "all"
	if c.from.tok.install.Selected != nil || c.from.tok.perRequest {
		selection = "selected"
	}
	c.json(200, map[string]any{"total_count": len(all), "repository_selection": selection, "repositories": out})
}

func (s *Server) deleteToken(c *call) {
	s.mu.Lock()
	c.from.tok.deadAt = s.now()
	s.revoked[HashedToken(c.from.tok.value)]++
	s.mu.Unlock()
	c.w.WriteHeader(http.StatusNoContent)
}

// pageOf cuts a list by page and per_page and writes the Link header.
func pageOf[T any](c *call, all []T) []T {
	q := c.r.URL.Query()
	per, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || per < 1 {
		per = 30
	}
	per = min(per, 100)
	page, err := strconv.Atoi(q.Get("page"))
	if err != nil || page < 1 {
		page = 1
	}
	start, end := min((page-1)*per, len(all)), min(page*per, len(all))
	var links []string
	link := func(n int, rel string) {
		q.Set("page", itoa(n))
		q.Set("per_page", itoa(per))
		links = append(links, fmt.Sprintf(`<http://%s%s?%s>; rel="%s"`, c.r.Host, c.r.URL.Path, q.Encode(), rel))
	}
	if page > 1 {
		link(page-1, "prev")
	}
	if end < len(all) {
		link(page+1, "next")
		link((len(all)+per-1)/per, "last")
	}
	if len(links) > 0 {
		c.w.Header().Set("Link", strings.Join(links, ", "))
	}
	return all[start:end]
}

// retention is how long deliveries can be listed and redelivered.
const retention = 3 * 24 * time.Hour

// recent wants s.mu: the App's deliveries that GitHub still has, newest first.
func (s *Server) recent(app *App) []*Delivery {
	var out []*Delivery
	for _, d := range s.deliveries {
		if d.App == app.ID && s.now().Sub(d.At) <= retention && !d.At.IsZero() {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *Delivery) int { return int(b.ID - a.ID) })
	return out
}

func (s *Server) listDeliveries(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.recent(c.from.app)
	q := c.r.URL.Query()
	per, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || per < 1 {
		per = 30
	}
	per = min(per, 100)
	start := 0
	if cursor := q.Get("cursor"); cursor != "" {
		start = slices.IndexFunc(all, func(d *Delivery) bool { return "v1_"+strconv.FormatInt(d.ID, 10) == cursor })
		if start < 0 {
			c.fail(422, "Invalid cursor", "/apps/webhooks#list-deliveries-for-an-app-webhook")
			return
		}
	}
	end := min(start+per, len(all))
	if end < len(all) {
		q.Set("cursor", "v1_"+strconv.FormatInt(all[end].ID, 10))
		c.w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, c.r.Host, c.r.URL.Path, q.Encode()))
	}
	out := []map[string]any{}
	for _, d := range all[start:end] {
		out = append(out, deliveryItem(d))
	}
	c.json(200, out)
}

func deliveryItem(d *Delivery) map[string]any {
	none := func(n int64) any {
		if n == 0 {
			return nil
		}
		return n
	}
	var action any
	if d.Action != "" {
		action = d.Action
	}
	return map[string]any{
		"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.At), "redelivery": d.Redelivery, "duration": d.Duration.Seconds(),
		"status": d.Status, "status_code": d.StatusCode, "event": d.Event, "action": action,
		"installation_id": none(d.Installation), "repository_id": none(d.Repository), "throttled_at": nil,
	}
}

// deliveryOf wants s.mu; it answers 404 itself.
func (s *Server) deliveryOf(c *call) *Delivery {
	id, _ := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	for _, d := range s.recent(c.from.app) {
		if d.ID == id {
			return d
		}
	}
	c.fail(404, "Not Found", "/apps/webhooks")
	return nil
}

func (s *Server) getDelivery(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.deliveryOf(c)
	if d == nil {
		return
	}
	m := deliveryItem(d)
	m["url"] = d.URL
	m["request"] = map[string]any{"headers": d.Headers, "payload": json.RawMessage(d.Payload)}
	m["response"] = map[string]any{"headers": map[string]any{}, "payload": d.Response}
	c.json(200, m)
}

func (s *Server) postAttempt(c *call) {
	s.mu.Lock()
	d := s.deliveryOf(c)
	s.mu.Unlock()
	if d == nil {
		return
	}
	err := s.Redeliver(d.ID)
	if err != nil {
		c.fail(422, "Validation Failed", "/apps/webhooks")
		return
	}
	c.json(202, map[string]any{})
}
