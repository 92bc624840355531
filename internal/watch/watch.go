// Package watch follows public events of people and organisations on GitHub and
// scans what they push, since most leaks of a company's keys happen in private
// people's repositories.
//
// # What this package promises
//
// Beside their events it follows people's gists, which have no events, and the
// forks that their events and those of the organisation tell of. Of a push it
// scans what is new and, while GitHub still gives it, what a forced push removed.
// It asks as GitHub wants to be asked: conditionally, no more often than the
// answer's X-Poll-Interval, spread over what the rate limit leaves. An event is
// handed out once, after a restart too: its id is kept in the [State] when it
// was handled, and a listing's ETag only when all of its events were. What GitHub
// no longer lists (300 events, 30 days) is told as a gap.
//
// # What it never does
//
// It acts on nothing and reads nothing that is not public. It is no live feed:
// GitHub shows an event between 30 seconds and 6 hours after it happened
// (docs.github.com, REST API endpoints for events), and each [Seen] says how late.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"stanch/internal/githubapp"
	"stanch/internal/lazyregexp"
	"stanch/internal/secret"
	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// What GitHub lists of a feed, and how it is asked.
const (
	mostListed  = 300
	perPage     = 100
	longestLate = 6 * time.Hour       // how late an event may appear in a listing
	listedFor   = 30 * 24 * time.Hour // how long
	defaultPoll = time.Minute
	typeFork    = "ForkEvent"
	membersFor  = time.Hour // how long a list of members is good
	mostTries   = 8         // of an event that cannot be scanned, about 4 hours
)

// Options of [Run]. Client, Engine, State and Seen must be set.
type Options struct {
	Client *github.Client
	WebURL string       // where repositories are cloned from; defaults to https://github.com
	Token  secret.Value // for the clone; empty for public repositories of github.com

	Org       string   // its public events, and those of its members
	Concealed bool     // members who hide that they are, too: needs a token of a member
	Users     []string // logins

	Since  time.Duration // how far a feed without state is looked back
	Once   bool          // ask each feed that is due once, and end
	Engine *scanner.Engine
	Limits gitwire.Limits
	State  *State

	Seen func(Seen)        // hears of each event that was scanned, in order
	Note func(text string) // hears of what a person should know; holds no repository content
	Save func(State) error // keeps the state; called after each event

	Now   func() time.Time                           // defaults to time.Now
	Sleep func(context.Context, time.Duration) error // defaults to a timer
}

// Seen is one event that was scanned.
type Seen struct {
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Actor      string    `json:"actor"`
	Repository string    `json:"repository"`
	Ref        string    `json:"ref,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	SeenAt     time.Time `json:"seen_at"`

	Findings []scanner.Finding `json:"-"` // not scrubbed yet
	Partial  []string          `json:"partial,omitempty"`
	Commits  int               `json:"commits"`
	Blobs    int               `json:"blobs"`
}

// Late is how long after the event GitHub showed it to us.
func (s Seen) Late() time.Duration { return max(0, s.SeenAt.Sub(s.CreatedAt)) }

// State is what outlives a run.
type State struct {
	Feeds   map[string]*Feed `json:"feeds"`
	Members []string         `json:"members,omitempty"`
	Listed  time.Time        `json:"members_listed,omitzero"`
	Forks   []Fork           `json:"forks,omitempty"`
	Waiting []Waiting        `json:"waiting,omitempty"` // could not be scanned yet
}

// Feed is what is known of one list of events.
type Feed struct {
	ETag     string    `json:"etag,omitempty"`
	Known    []string  `json:"known"` // ids of events that were handled and may still be listed
	Asked    time.Time `json:"asked"`
	Due      time.Time `json:"due"`                // not before, says GitHub
	Unbroken bool      `json:"complete,omitempty"` // the last listing was read to its end
	Since    time.Time `json:"since,omitzero"`     // of gists: when the newest that was handled changed
}

// Waiting is an event that is tried again.
type Waiting struct {
	Event Event     `json:"event"`
	Tries int       `json:"tries"`
	Due   time.Time `json:"due"`
}

// Event is what is kept of an event of GitHub's.
type Event struct {
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	Actor      string    `json:"actor"`
	Repository string    `json:"repository"`
	Ref        string    `json:"ref,omitempty"`
	Fork       string    `json:"-"` // what was made of Repository
	Before     string    `json:"before,omitempty"`
	After      string    `json:"after,omitempty"`
	URL        string    `json:"url,omitempty"`     // of a gist
	Commits    []string  `json:"commits,omitempty"` // until 2025 GitHub listed up to 20
	Created    time.Time `json:"created_at"`
	SeenAt     time.Time `json:"seen_at"`
}

// Result sums up a run.
type Result struct {
	Events   int // scanned
	Findings int // not suppressed
	Partial  bool
}

type watcher struct {
	Options
	result Result
	rate   github.Rate
	told   map[string]bool // findings of this run: a new branch and a push to it can bring the same
}

// mostTold bounds told.
const mostTold = 100_000

// ErrLogin is wrapped by Run's error for a name that cannot be one.
var ErrLogin = errors.New("no login of GitHub")

// Run follows the feeds until ctx is done, or asks them once. It fails only when
// nothing can be followed: a login that is none, a token that is refused, a list
// of members that cannot be read at the start, a state that cannot be saved.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.WebURL == "" {
		o.WebURL = "https://github.com"
	}
	if o.Note == nil {
		o.Note = func(string) {}
	}
	if o.Save == nil {
		o.Save = func(State) error { return nil }
	}
	if o.State.Feeds == nil {
		o.State.Feeds = map[string]*Feed{}
	}
	for _, login := range append(slices.Clone(o.Users), o.Org) {
		if login != "" && !loginForm().MatchString(login) {
			return Result{}, fmt.Errorf("%q: %w", login, ErrLogin)
		}
	}
	w := &watcher{Options: o, told: map[string]bool{}}
	for {
		feeds, err := w.feeds(ctx)
		if err != nil {
			return w.result, err
		}
		err = w.round(ctx, feeds)
		if err != nil || ctx.Err() != nil {
			return w.result, err
		}
		if o.Once {
			return w.result, nil
		}
		err = o.Sleep(ctx, w.pause(feeds))
		if err != nil {
			return w.result, nil // told to end
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	loginForm = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?$`)
	repoForm  = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`)
	idForm    = lazyregexp.New(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	eventForm = lazyregexp.New(`^[0-9]{1,20}$`)
	refForm   = lazyregexp.New(`^refs/[^\x00-\x20\x7f~^:?*\[\\]{1,1000}$`)
)

// feeds names all lists of events, by their path in the API.
func (w *watcher) feeds(ctx context.Context) ([]string, error) {
	if w.Org != "" && w.Now().Sub(w.State.Listed) >= membersFor {
		members, err := w.members(ctx)
		switch {
		case err == nil:
			w.State.Members, w.State.Listed = members, w.Now()
		case w.State.Listed.IsZero():
			return nil, err
		default:
			w.partial("the members could not be listed again, the last list is used: " + err.Error())
		}
	}
	var out []string
	seen := map[string]bool{}
	add := func(path string) {
		if key := strings.ToLower(path); !seen[key] {
			seen[key] = true
			out = append(out, path)
		}
	}
	if w.Org != "" {
		add("orgs/" + w.Org + "/events")
	}
	for _, u := range append(slices.Clone(w.Users), w.State.Members...) {
		add("users/" + u + "/events/public")
		add("users/" + u + "/gists")
	}
	for _, path := range w.forks() {
		add(path)
	}
	return out, nil
}

func (w *watcher) members(ctx context.Context) ([]string, error) {
	var out []string
	o := github.ListMembersOptions{PublicOnly: !w.Concealed, ListOptions: github.ListOptions{PerPage: perPage}}
	for range 1000 {
		list, resp, err := w.Client.Organizations.ListMembers(ctx, w.Org, &o)
		if err != nil {
			return nil, githubapp.Reduce("list members", err)
		}
		for _, m := range list {
			if loginForm().MatchString(m.GetLogin()) {
				out = append(out, m.GetLogin())
			}
		}
		if resp.NextPage <= o.Page {
			break
		}
		o.Page = resp.NextPage
	}
	return out, nil
}

func (w *watcher) partial(text string) {
	w.result.Partial = true
	w.Note(text)
}

// round asks each feed that is due.
func (w *watcher) round(ctx context.Context, feeds []string) error {
	err := w.again(ctx)
	if err != nil {
		return err
	}
	for _, path := range feeds {
		f := w.State.Feeds[path]
		if f != nil && w.Now().Before(f.Due) {
			continue
		}
		if f == nil {
			f = &Feed{}
			w.State.Feeds[path] = f
		}
		ask := w.ask
		if isGists(path) {
			ask = w.gists
		}
		err := ask(ctx, path, f)
		var api *githubapp.APIError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &api) && api.RetryAfter > 0:
			w.partial(fmt.Sprintf("%s: the rate limit is used up for %s", path, api.RetryAfter.Round(time.Second)))
			until := w.Now().Add(api.RetryAfter)
			for _, p := range feeds { // the limit is one for all
				if g := w.State.Feeds[p]; g != nil && g.Due.Before(until) {
					g.Due = until
				}
			}
			return w.Save(*w.State)
		case errors.As(err, &api) && api.Status == http.StatusUnauthorized:
			return err
		case errors.As(err, &api):
			w.partial(path + ": " + api.Error())
			f.Due = w.Now().Add(defaultPoll)
			if gone(err) { // a login or a fork
				f.Due = w.Now().Add(membersFor)
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// pause is how long nothing is due. The rate limit is spread over the feeds:
// with few requests left they are asked less often than GitHub would allow.
func (w *watcher) pause(feeds []string) time.Duration {
	now := w.Now()
	next := now.Add(membersFor)
	for _, path := range feeds {
		if f := w.State.Feeds[path]; f == nil || f.Due.Before(next) {
			next = now
			if f != nil {
				next = f.Due
			}
		}
	}
	for _, p := range w.State.Waiting {
		if p.Due.Before(next) {
			next = p.Due
		}
	}
	wait := next.Sub(now)
	left := w.rate.Reset.Sub(now)
	if w.rate.Limit > 0 && left > 0 {
		share := left
		if w.rate.Remaining > 0 {
			share = left * time.Duration(inTenMinutes(feeds)) / time.Duration(10*w.rate.Remaining)
		}
		wait = max(wait, min(share, left))
	}
	return max(wait, time.Second)
}

// page asks for one page of a feed. modified is false for 304.
func (w *watcher) page(ctx context.Context, path string, page int, etag string) (events []*github.Event, resp *github.Response, modified bool, err error) {
	req, err := w.Client.NewRequest("GET", path+"?per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), nil)
	if err != nil {
		return nil, nil, false, err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err = w.Client.Do(ctx, req, &events)
	if resp != nil && resp.Rate.Limit > 0 {
		w.rate = resp.Rate
	}
	if resp != nil && resp.StatusCode == http.StatusNotModified {
		return nil, resp, false, nil
	}
	return events, resp, true, githubapp.Reduce("list events", err)
}

// ask reads what is new in a feed, and handles it oldest first.
func (w *watcher) ask(ctx context.Context, path string, f *Feed) error {
	first := f.Asked.IsZero()
	known := map[string]bool{}
	for _, id := range f.Known {
		known[id] = true
	}
	etag := f.ETag
	if !f.Unbroken {
		etag = ""
	}
	now := w.Now()
	events, resp, modified, err := w.page(ctx, path, 1, etag)
	if err != nil {
		return err
	}
	f.Due = now.Add(pollInterval(resp.Response))
	if strings.HasPrefix(path, forkPrefix) {
		f.Due = now.Add(max(forkPoll, pollInterval(resp.Response)))
	}
	if !modified {
		f.Asked = now
		return w.Save(*w.State)
	}
	newETag := resp.Header.Get("ETag")
	all, ended := slices.Clone(events), true
	var missing error
	for page := 2; resp.NextPage == page && len(all) < mostListed; page++ {
		if n := len(events); f.Unbroken && n > 0 && known[events[n-1].GetID()] && events[n-1].GetCreatedAt().Before(f.Asked.Add(-longestLate)) {
			break // all that is older was handled
		}
		events, resp, _, err = w.page(ctx, path, page, "")
		var api *githubapp.APIError
		if errors.As(err, &api) && api.Status == http.StatusUnprocessableEntity {
			break // GitHub's answer beyond its last page
		}
		if err != nil {
			missing, ended = err, false
			break
		}
		all = append(all, events...)
	}
	overlap := slices.ContainsFunc(all, func(e *github.Event) bool { return known[e.GetID()] })
	if !first && len(known) > 0 && !overlap && ended && (len(all) >= mostListed || now.Sub(f.Asked) > listedFor) {
		w.partial(fmt.Sprintf("%s: a gap: more happened since %s than GitHub lists", path, f.Asked.UTC().Format(time.RFC3339)))
	}
	slices.SortStableFunc(all, func(a, b *github.Event) int { return a.GetCreatedAt().Compare(b.GetCreatedAt().Time) })
	for _, raw := range all {
		id := raw.GetID()
		if !eventForm().MatchString(id) || known[id] {
			continue
		}
		e, ok := parseEvent(raw, now)
		if ok && e.Type == typeFork {
			w.follow(path, e.Fork, e.Created)
			ok = false
		}
		if ok && !(first && e.Created.Before(now.Add(-w.Since))) && !w.elsewhere(path, id) {
			err := w.handle(ctx, Waiting{Event: e})
			if err != nil {
				return err
			}
		}
		known[id] = true
		f.Known = append(f.Known, id)
		err := w.Save(*w.State)
		if err != nil {
			return err
		}
	}
	if missing != nil {
		f.Unbroken = false
		return missing
	}
	// What fell out of a complete listing does not come back; after an early end the
	// older ids stay known.
	f.Known = f.Known[max(0, len(f.Known)-2*mostListed):]
	f.ETag, f.Asked, f.Unbroken = newETag, now, true
	return w.Save(*w.State)
}

// elsewhere reports whether another feed had the event already: that of an
// organisation and that of its member both list it.
func (w *watcher) elsewhere(path, id string) bool {
	for p, f := range w.State.Feeds {
		if p != path && slices.Contains(f.Known, id) {
			return true
		}
	}
	return false
}

func pollInterval(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("X-Poll-Interval"))
	if err != nil || n <= 0 || n > 86_400 {
		return defaultPoll
	}
	return time.Duration(n) * time.Second
}

// isRef takes full names only, and nothing that a URL or git could read otherwise.
func isRef(s string) bool { return refForm().MatchString(s) && !strings.Contains(s, "..") }

// parseEvent takes the events that bring content. Nothing in them is trusted.
func parseEvent(raw *github.Event, now time.Time) (Event, bool) {
	e := Event{
		ID: raw.GetID(), Type: raw.GetType(), Actor: raw.GetActor().GetLogin(), Repository: raw.GetRepo().GetName(),
		Created: raw.GetCreatedAt().UTC(), SeenAt: now.UTC(),
	}
	if !isRepository(e.Repository) || !loginForm().MatchString(e.Actor) {
		return Event{}, false
	}
	var p struct {
		Ref     string `json:"ref"`
		RefType string `json:"ref_type"`
		Before  string `json:"before"`
		Head    string `json:"head"`
		Size    int    `json:"size"`
		Forkee  struct {
			FullName string `json:"full_name"`
		} `json:"forkee"`
		Commits []struct {
			SHA string `json:"sha"`
		} `json:"commits"`
	}
	if raw.RawPayload != nil {
		err := json.Unmarshal(*raw.RawPayload, &p)
		if err != nil {
			return Event{}, false
		}
	}
	switch e.Type {
	case "PublicEvent":
		return e, true
	case typeFork:
		e.Fork = p.Forkee.FullName
		return e, isRepository(e.Fork)
	case "CreateEvent":
		e.Ref = map[string]string{"branch": "refs/heads/", "tag": "refs/tags/"}[p.RefType] + p.Ref
		return e, isRef(e.Ref)
	case "PushEvent":
		e.Ref, e.Before, e.After = p.Ref, p.Before, p.Head
		if !idForm().MatchString(e.After) || !isRef(e.Ref) || e.Before != "" && (!idForm().MatchString(e.Before) || len(e.Before) != len(e.After)) {
			return Event{}, false
		}
		if e.Before == "" && p.Size == len(p.Commits) {
			for _, c := range p.Commits {
				if idForm().MatchString(c.SHA) {
					e.Commits = append(e.Commits, c.SHA)
				}
			}
		}
		return e, true
	}
	return Event{}, false
}
