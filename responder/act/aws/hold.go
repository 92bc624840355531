package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"stanch/responder/act"
	"stanch/responder/incident"
)

const (
	holdPeriod     = 250 * time.Millisecond
	holdMaxPeriod  = 2 * time.Second
	holdDefault    = 15 * time.Second
	holdReactions  = 200             // bound of what is reported
	exposureMargin = 5 * time.Minute // clocks differ, and a push takes time
)

// hold is the state of one hold-down.
type hold struct {
	d     *Driver
	t     target
	start time.Time
	end   time.Time
	since time.Time // things made after this are suspect

	keys     map[string]bool // keys that were there at the start and are not the leaked one
	extra    map[string]bool // keys that we deactivated during the hold
	login    *bool           // whether there was a login profile at the start
	policies map[string]bool // inline and attached policies at the start
	sessions bool            // the session deny stands and must keep standing
	denied   bool            // the deny layers stand and must keep standing
	raised   bool            // a reaction called for the deny layers
	settled  bool            // the session deny was put again after the settle window
	layers   layers

	mu     sync.Mutex
	out    act.Held
	seen   map[string]bool // reactions that are reported once
	period time.Duration
}

// Hold re-applies a containment for d (15 s by default) while someone undoes it:
// IAM enforces a change only after seconds, in which the key still works. It
// deactivates the key and every new key of the user again, puts back layers that
// vanish, raises the level to the deny layers at the first reaction, and looks
// for new users and roles. It ends early only with ctx, or when our role is
// refused; what it saw until then is in the result.
func (d *Driver) Hold(ctx context.Context, s act.Subject, length time.Duration) (act.Held, error) {
	t, err := d.aim(s)
	if err != nil {
		return act.Held{}, err
	}
	ctx, rec := d.record(ctx, incident.Request{With: "admin"}, s)
	rec.dropOK = true
	err = t.resolve(ctx, false)
	if errors.Is(err, errNoKey) {
		return act.Held{Until: d.now().UTC(), Requests: rec.requests()}, nil
	}
	if err != nil {
		return act.Held{Requests: rec.requests()}, explain(t.account, "iam:GetAccessKeyLastUsed", err)
	}
	if length <= 0 {
		length = holdDefault
	}
	h := &hold{
		d: d, t: t, start: d.now(), extra: map[string]bool{}, seen: map[string]bool{}, period: holdPeriod,
		sessions: s.Facts[factSessions] != "", denied: s.Facts[factDenyAll] != "",
	}
	h.end = h.start.Add(length)
	h.since = s.ExposedAt
	if h.since.IsZero() {
		h.since = h.start
	}
	err = h.run(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.Until = d.now().UTC()
	h.out.Requests = rec.requests()
	slices.SortStableFunc(h.out.Reactions, func(a, b act.Reaction) int { return a.At.Compare(b.At) })
	return h.out, err
}

func (h *hold) run(ctx context.Context) error {
	sweeps, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { h.sweepAt(sweeps, 5*time.Second) })
	for {
		err := h.round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (isDenied(err) || isGone(err)) {
			if isGone(err) {
				h.react("the user was deleted", "nothing is left to hold", true)
				return nil
			}
			return explain(h.t.account, "hold", err)
		}
		h.pace(err)
		left := h.end.Sub(h.d.now())
		if left <= 0 {
			break
		}
		if !sleep(ctx, min(jitter(h.period), left)) {
			return ctx.Err()
		}
	}
	wg.Wait()
	h.putSessions(ctx) // sessions minted during the lag have a later issue time
	h.sweep(ctx)
	return ctx.Err()
}

// pace slows the loop down while IAM throttles and speeds it up again.
func (h *hold) pace(err error) {
	if err != nil && isThrottled(err) {
		h.period = min(h.period*2, holdMaxPeriod)
		return
	}
	h.period = max(h.period*3/4, holdPeriod)
}

// round looks once and answers what it sees. Keys come first; the rest is read
// at the same time.
func (h *hold) round(ctx context.Context) error {
	var wg sync.WaitGroup
	var inline, attached []string
	var boundary string
	var errPolicies, errLogin error
	var login bool
	watch := h.sessions || h.denied || h.raised
	if watch {
		wg.Go(func() { inline, attached, boundary, errPolicies = h.look(ctx) })
	}
	wg.Go(func() { login, errLogin = h.hasLogin(ctx) })
	err := h.holdKeys(ctx)
	wg.Wait()
	if errLogin == nil {
		h.holdLogin(login)
	}
	if watch && errPolicies == nil {
		h.holdLayers(ctx, inline, attached, boundary)
	}
	if h.raised && !h.denied {
		h.raise(ctx)
	}
	if !h.settled && h.d.now().Sub(h.start) >= h.d.settle {
		h.settled = true
		h.putSessions(ctx)
	}
	if err == nil && errPolicies != nil && isThrottled(errPolicies) {
		return errPolicies
	}
	return err
}

// holdKeys keeps the leaked key, and every key that appears, inactive.
func (h *hold) holdKeys(ctx context.Context) error {
	keys, err := listKeys(ctx, h.t.reader, h.t.user)
	if err != nil {
		return err
	}
	first := h.keys == nil
	if first {
		h.keys = map[string]bool{}
	}
	for _, k := range keys {
		id := awssdk.ToString(k.AccessKeyId)
		active := k.Status == types.StatusTypeActive
		switch {
		case id == h.t.keyID || h.extra[id]:
			if !active {
				continue
			}
			err := h.t.setKey(ctx, id, types.StatusTypeInactive)
			answer := "deactivated again" + failed(err)
			if first && id == h.t.keyID {
				// Nobody need have undone it: IAM may not show our own act yet.
				h.react("key "+id+" was active when the hold began", answer, true)
				continue
			}
			h.react("key "+id+" was re-activated", answer, false)
			h.raised = true
		case h.keys[id]:
		case first && !h.suspect(k.CreateDate):
			h.keys[id] = true
		default:
			h.newKey(ctx, id, active)
		}
	}
	return nil
}

func (h *hold) newKey(ctx context.Context, id string, active bool) {
	h.extra[id] = true
	h.raised = true
	if !active {
		h.react("new access key "+id, "it is inactive already", true)
		return
	}
	err := h.t.setKey(ctx, id, types.StatusTypeInactive)
	h.react("new access key "+id, "deactivated"+failed(err), true)
	if err == nil {
		h.effect(act.Effect{At: h.d.now().UTC(), Undo: h.t.undoKey(id), Detail: fmt.Sprintf("new access key %s of user %s in account %s was set to Inactive", id, h.t.user, h.t.ID)})
	}
}

func (h *hold) suspect(created *time.Time) bool {
	return created != nil && !created.Before(h.since)
}

func (h *hold) hasLogin(ctx context.Context) (bool, error) {
	_, err := h.t.reader.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: &h.t.user})
	if isGone(err) {
		return false, nil
	}
	return err == nil, err
}

func (h *hold) holdLogin(now bool) {
	if h.login == nil {
		h.login = &now
		return
	}
	if now && !*h.login {
		h.react("new login profile (console password)", "recorded; the deny layers stop what it could do", false)
		h.raised = true
	}
	h.login = &now
}

// look reads what stands on the user: policies and boundary.
func (h *hold) look(ctx context.Context) (inline, attached []string, boundary string, err error) {
	c, user := h.t.reader, &h.t.user
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() {
		pages := iam.NewListUserPoliciesPaginator(c, &iam.ListUserPoliciesInput{UserName: user})
		for pages.HasMorePages() && errs[0] == nil {
			page, err := pages.NextPage(ctx)
			if err != nil {
				errs[0] = err
				return
			}
			inline = append(inline, page.PolicyNames...)
		}
	})
	wg.Go(func() {
		pages := iam.NewListAttachedUserPoliciesPaginator(c, &iam.ListAttachedUserPoliciesInput{UserName: user})
		for pages.HasMorePages() && errs[1] == nil {
			page, err := pages.NextPage(ctx)
			if err != nil {
				errs[1] = err
				return
			}
			for _, p := range page.AttachedPolicies {
				attached = append(attached, awssdk.ToString(p.PolicyArn))
			}
		}
	})
	if h.denied {
		wg.Go(func() {
			out, err := c.GetUser(ctx, &iam.GetUserInput{UserName: user})
			if err != nil {
				errs[2] = err
				return
			}
			if out.User != nil && out.User.PermissionsBoundary != nil {
				boundary = awssdk.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn)
			}
		})
	}
	wg.Wait()
	return inline, attached, boundary, errors.Join(errs[:]...)
}

// holdLayers puts back what vanished and notes policies that appear.
func (h *hold) holdLayers(ctx context.Context, inline, attached []string, boundary string) {
	if h.policies == nil {
		h.policies = map[string]bool{}
		for _, p := range slices.Concat(inline, attached) {
			h.policies[p] = true
		}
	}
	for _, p := range slices.Concat(inline, attached) {
		if !h.policies[p] && !strings.HasPrefix(p, "Stanch") && p != DenyAllPolicyARN(h.t.Partition) {
			h.policies[p] = true
			h.react("new policy on the user: "+p, "recorded; a deny outweighs it", true)
			h.raised = true
		}
	}
	if h.sessions && !slices.Contains(inline, RevokeSessionsPolicy) {
		err := h.d.putSessionDeny(ctx, h.t)
		h.react("inline policy "+RevokeSessionsPolicy+" was removed", "put again"+failed(err), false)
		h.raised = true
	}
	if !h.denied {
		return
	}
	for _, name := range layerNames(h.t.s.IncidentID) {
		if !slices.Contains(inline, name) && h.stands(name) {
			err := h.t.putPolicy(ctx, name, DenyAllDocument())
			h.react("inline policy "+name+" was removed", "put again"+failed(err), false)
		}
	}
	arn := DenyAllPolicyARN(h.t.Partition)
	if !slices.Contains(attached, arn) && h.stands("attached") {
		_, err := h.t.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &h.t.user, PolicyArn: &arn})
		h.react("AWSDenyAll was detached", "attached again"+failed(err), false)
	}
	if boundary != arn && h.stands("boundary") {
		_, err := h.t.iam.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &h.t.user, PermissionsBoundary: &arn})
		h.react("the permissions boundary was changed", "AWSDenyAll put again"+failed(err), false)
	}
}

// stands reports whether a layer was accepted when it was put. Layers of an
// earlier act are all taken to stand: one that was refused then is put now.
func (h *hold) stands(layer string) bool {
	if !h.raised || h.layers.stand == nil {
		return true
	}
	switch layer {
	case "attached":
		return h.layers.attached != ""
	case "boundary":
		return h.layers.boundary != ""
	}
	return slices.Contains(h.layers.inline, layer)
}

// raise puts the deny layers, because someone reacts.
func (h *hold) raise(ctx context.Context) {
	l, err := h.d.putLayers(ctx, h.t, false)
	if err != nil {
		h.react("containment is being undone", "the deny layers could not be put: "+err.Error(), true)
		return
	}
	h.layers, h.denied = l, true
	detail := fmt.Sprintf("everything is denied to user %s in account %s, because the containment was undone: %s", h.t.user, h.t.ID, strings.Join(l.stand, ", "))
	h.react("containment is being undone", "raised to the deny layers: "+strings.Join(l.stand, ", "), true)
	h.effect(act.Effect{At: h.d.now().UTC(), Undo: l.undo(h.t), Detail: detail, Facts: map[string]string{factDenyAll: strings.Join(l.inline, ",")}})
}

// putSessions moves the time before which sessions are denied to now.
func (h *hold) putSessions(ctx context.Context) {
	if !h.sessions {
		return
	}
	err := h.d.putSessionDeny(ctx, h.t)
	if err != nil && ctx.Err() == nil {
		h.react("sessions minted while the deactivation took effect", "could not be denied: "+reasonOf(err), true)
	}
}

// react notes a reaction; with once set, only the first with these words.
func (h *hold) react(what, answer string, once bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if once && h.seen[what+answer] || len(h.out.Reactions) >= holdReactions {
		return
	}
	h.seen[what+answer] = true
	h.out.Reactions = append(h.out.Reactions, act.Reaction{At: h.d.now().UTC(), What: what, Answer: answer})
}

func (h *hold) effect(e act.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.Effects = append(h.out.Effects, e)
}

func failed(err error) string {
	if err == nil {
		return ""
	}
	return ", but IAM refused: " + reasonOf(err)
}
