package watch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"stanch/internal/githubapp"
	"stanch/scanner"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// again tries the events that could not be scanned before.
func (w *watcher) again(ctx context.Context) error {
	due := w.State.Waiting
	w.State.Waiting = nil
	for i, p := range due {
		if w.Now().Before(p.Due) {
			w.State.Waiting = append(w.State.Waiting, p)
			continue
		}
		err := w.handle(ctx, p)
		if err != nil {
			w.State.Waiting = append(w.State.Waiting, due[i:]...)
			return errors.Join(err, w.Save(*w.State))
		}
	}
	if len(due) == 0 {
		return nil
	}
	return w.Save(*w.State)
}

// handle scans an event and hands it out, or puts it off. Its error is that of
// ctx alone.
func (w *watcher) handle(ctx context.Context, p Waiting) error {
	e := p.Event
	s := Seen{ID: e.ID, Type: e.Type, Actor: e.Actor, Repository: e.Repository, Ref: e.Ref, CreatedAt: e.Created, SeenAt: e.SeenAt}
	err := w.scan(ctx, e, &s)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	gone := errors.Is(err, gitwire.ErrNotFound) || errors.Is(err, gitwire.ErrRefused)
	p.Tries++
	switch {
	case err != nil && !gone && p.Tries < mostTries && !errors.Is(err, gitwire.ErrTooLarge):
		p.Due = w.Now().Add(time.Minute << p.Tries)
		w.State.Waiting = append(w.State.Waiting, p)
		w.Note(fmt.Sprintf("event %s of %s: %s; it is tried again", e.ID, e.Repository, reason(err)))
		return nil
	case gone:
		// What was public a moment ago was taken away: nothing is left to look at.
		w.Note(fmt.Sprintf("event %s of %s: what was pushed is gone, or no longer public", e.ID, e.Repository))
		return nil
	case err != nil:
		s.Partial = append(s.Partial, reason(err))
	}
	if len(s.Partial) > 0 {
		w.result.Partial = true
	}
	w.result.Events++
	s.Findings = slices.DeleteFunc(s.Findings, w.repeated)
	for _, f := range s.Findings {
		if f.Suppressed == "" {
			w.result.Findings++
		}
	}
	w.Seen(s)
	return nil
}

// repeated reports whether a finding was handed out in this run.
func (w *watcher) repeated(f scanner.Finding) bool {
	key := fmt.Sprintf("%s %s %s %d %d", f.Place.Repository, f.Place.Object, f.Fingerprint(), f.Place.Line, f.Place.Column)
	if w.told[key] {
		return true
	}
	if len(w.told) == mostTold {
		clear(w.told)
	}
	w.told[key] = true
	return false
}

// reason tells an error without what a repository could have put into it.
func reason(err error) string {
	var api *githubapp.APIError
	if errors.As(err, &api) {
		return api.Error()
	}
	for _, known := range []error{gitwire.ErrMoved, gitwire.ErrTooLarge, gitwire.ErrTimeout, gitwire.ErrRefused, gitwire.ErrNotFound} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "it could not be fetched"
}

func (w *watcher) scan(ctx context.Context, e Event, s *Seen) error {
	url := strings.TrimSuffix(w.WebURL, "/") + "/" + e.Repository + ".git"
	switch e.Type {
	case "PublicEvent":
		return w.whole(ctx, url, e, s)
	case typeGist:
		return w.whole(ctx, e.URL, e, s)
	}
	if e.Type == "CreateEvent" {
		tip, err := w.tip(ctx, e)
		if err != nil || tip == "" {
			return err
		}
		e.After = tip
	}
	push := gitwire.Push{
		URL: url, Repository: e.Repository, Ref: e.Ref, Before: e.Before, After: e.After, Commits: e.Commits, Token: w.Token,
		Created: e.Before == "" || strings.Trim(e.Before, "0") == "",
	}
	push.Forced = !push.Created // events do not say; where nothing was removed, nothing comes
	res, err := gitwire.Fetch(ctx, push, w.Limits, func(o gitwire.Object) error {
		found, reasons := w.Engine.ScanChangeAll(ctx, scanner.Unit{Data: o.Data, Place: o.Place}, o.Old)
		s.Findings = append(s.Findings, found...)
		for _, why := range reasons {
			if !slices.Contains(s.Partial, why) {
				s.Partial = append(s.Partial, why)
			}
		}
		return ctx.Err()
	})
	s.Commits, s.Blobs = res.Commits, res.Blobs
	if res.Partial {
		s.Partial = append(s.Partial, res.Reasons...)
	}
	return err
}

// tip asks where a new branch or tag points, which its event does not say; "" when
// it is gone again.
func (w *watcher) tip(ctx context.Context, e Event) (string, error) {
	owner, name, _ := strings.Cut(e.Repository, "/")
	ref, resp, err := w.Client.Git.GetRef(ctx, owner, name, e.Ref)
	if resp != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusConflict) {
		return "", nil // 409: the repository is empty
	}
	if err != nil {
		return "", githubapp.Reduce("read ref", err)
	}
	id := ref.GetObject().GetSHA()
	if !idForm().MatchString(id) {
		return "", nil
	}
	return id, nil
}

// whole scans the history of a repository that became public.
func (w *watcher) whole(ctx context.Context, url string, e Event, s *Seen) error {
	o := history.Options{Engine: w.Engine, Repository: e.Repository}
	res, err := history.ScanRemote(ctx, gitwire.Remote{URL: url, Token: w.Token}, w.Limits, o, nil, func(f scanner.Finding) {
		s.Findings = append(s.Findings, f)
	})
	s.Commits, s.Blobs = res.Commits, res.Blobs
	if res.Partial {
		s.Partial = slices.Clone(res.Reasons)
	}
	return err
}
