package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"stanch/internal/githubapp"
	"stanch/internal/lazyregexp"
)

// What is followed beside the events of people, and how often it is asked for:
// gists, which have no events, and the forks that their events and those of the
// organisation tell of.
const (
	typeGist   = "Gist"
	gistPoll   = 5 * time.Minute // GitHub tells no interval for gists
	mostGists  = 1000            // of one person, in one listing
	mostForks  = 200             // the newest ones
	forksFor   = 90 * 24 * time.Hour
	forkPoll   = 10 * time.Minute
	forkPrefix = "repos/"
)

var gistForm = lazyregexp.New(`^[0-9a-f]{1,40}$`)

// Fork is a repository that a fork event told of.
type Fork struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created_at"`
}

// follow remembers a fork. One of a fork that is followed itself is left out:
// strangers can make any number of them.
func (w *watcher) follow(path, name string, created time.Time) {
	if strings.HasPrefix(path, forkPrefix) || !isRepository(name) || w.Now().Sub(created) > forksFor ||
		slices.ContainsFunc(w.State.Forks, func(f Fork) bool { return strings.EqualFold(f.Name, name) }) {
		return
	}
	w.State.Forks = append(w.State.Forks, Fork{name, created.UTC()})
}

// forks gives the feeds of the forks that are followed, and forgets the old ones.
func (w *watcher) forks() []string {
	now := w.Now()
	slices.SortStableFunc(w.State.Forks, func(a, b Fork) int { return b.Created.Compare(a.Created) })
	var out []string
	w.State.Forks = slices.DeleteFunc(w.State.Forks, func(f Fork) bool {
		path := forkPrefix + f.Name + "/events"
		if len(out) == mostForks || now.Sub(f.Created) > forksFor {
			delete(w.State.Feeds, path)
			return true
		}
		out = append(out, path)
		return false
	})
	return out
}

// inTenMinutes is how many requests the feeds take in ten minutes, near enough: gists and
// forks are asked for less often.
func inTenMinutes(feeds []string) int {
	n := 0
	for _, path := range feeds {
		switch {
		case isGists(path):
			n += 2
		case strings.HasPrefix(path, forkPrefix):
			n++
		default:
			n += 10
		}
	}
	return n
}

// isGists tells the listing of a person's gists from a feed of events.
func isGists(path string) bool { return strings.HasSuffix(path, "/gists") }

// gists reads which gists of a person changed, and scans each with its history,
// the one that changed first first.
func (w *watcher) gists(ctx context.Context, path string, f *Feed) error {
	now := w.Now()
	if f.Since.IsZero() {
		f.Since = now.Add(-w.Since).UTC().Truncate(time.Second)
	}
	var all []*github.Gist
	etag := ""
	for page := 1; page > 0 && len(all) < mostGists; {
		query := url.Values{"per_page": {fmt.Sprint(perPage)}, "page": {fmt.Sprint(page)}, "since": {f.Since.Format(time.RFC3339)}}
		req, err := w.Client.NewRequest("GET", path+"?"+query.Encode(), nil)
		if err != nil {
			return err
		}
		if page == 1 && f.ETag != "" {
			req.Header.Set("If-None-Match", f.ETag)
		}
		var list []*github.Gist
		resp, err := w.Client.Do(ctx, req, &list)
		if resp != nil && resp.Rate.Limit > 0 {
			w.rate = resp.Rate
		}
		if resp != nil && resp.StatusCode == http.StatusNotModified {
			f.Asked, f.Due = now, now.Add(gistPoll)
			return w.Save(*w.State)
		}
		if err != nil {
			return githubapp.Reduce("list gists", err)
		}
		if page == 1 {
			etag = resp.Header.Get("ETag")
		}
		all = append(all, list...)
		page = resp.NextPage
	}
	if len(all) >= mostGists {
		w.partial(path + ": more gists changed than are listed")
	}
	slices.SortStableFunc(all, func(a, b *github.Gist) int {
		return cmp.Or(a.GetUpdatedAt().Compare(b.GetUpdatedAt().Time), strings.Compare(a.GetID(), b.GetID()))
	})
	since := f.Since
	for _, g := range all {
		e, ok := w.gist(path, g, now)
		if !ok || slices.Contains(f.Known, e.ID) {
			continue
		}
		err := w.handle(ctx, Waiting{Event: e})
		if err != nil {
			return err
		}
		f.Known = append(f.Known, e.ID)
		if e.Created.After(since) {
			since = e.Created
		}
		err = w.Save(*w.State)
		if err != nil {
			return err
		}
	}
	if since != f.Since {
		f.Since, etag = since, "" // another question from now on
	}
	f.Known = f.Known[max(0, len(f.Known)-mostGists):]
	f.ETag, f.Asked, f.Due = etag, now, now.Add(gistPoll)
	return w.Save(*w.State)
}

// gist makes an event of a gist that changed. Nothing in it is trusted.
func (w *watcher) gist(path string, g *github.Gist, now time.Time) (Event, bool) {
	login := strings.TrimSuffix(strings.TrimPrefix(path, "users/"), "/gists")
	at := g.GetUpdatedAt().UTC()
	e := Event{
		ID: g.GetID() + "@" + at.Format(time.RFC3339), Type: typeGist, Actor: login, Repository: "gist/" + g.GetID(),
		URL: g.GetGitPullURL(), Created: at, SeenAt: now.UTC(),
	}
	return e, gistForm().MatchString(g.GetID()) && !at.IsZero() && !at.After(now.Add(time.Hour)) && w.ours(e.URL)
}

// ours reports whether an address is on the GitHub that is watched: no other host
// is asked, or shown the token.
func (w *watcher) ours(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return false
	}
	web, err := url.Parse(w.WebURL)
	return err == nil && u.Scheme == web.Scheme && (u.Host == web.Host || u.Host == "gist."+web.Host)
}

// isRepository takes owner/name only.
func isRepository(name string) bool {
	return repoForm().MatchString(name) && !strings.HasSuffix(name, "/.") && !strings.HasSuffix(name, "/..")
}

// gone reports whether a feed answers that there is nothing.
func gone(err error) bool {
	var api *githubapp.APIError
	return errors.As(err, &api) && api.Status == http.StatusNotFound
}
