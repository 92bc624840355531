package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"stanch/responder/act"
	"stanch/responder/incident"
)

const (
	holdPeriod     = 250 * time.Millisecond
	holdRounds     = 40 // a second, over all quiet holds of an account: IAM's rate is the account's
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
	raised   atomic.Bool     // a reaction called for the deny layers
	settled  bool            // the session deny was put again after the settle window
	layers   layers

	mu   sync.Mutex
	out  act.Held
	seen map[string]bool // reactions that are reported once
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
		d: d, t: t, start: d.now(), extra: map[string]bool{}, seen: map[string]bool{},
		sessions: s.Facts[factSessions] != "", denied: s.Facts[factDenyAll] != "",
	}
	h.end = h.start.Add(length)
	h.since = s.ExposedAt
	if h.since.IsZero() {
		h.since = h.start
	}
	t.holds.Add(1)
	defer t.holds.Add(-1)
	err = h.run(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out.Until = d.now().UTC()
	h.out.Requests = rec.requests()
	slices.SortStableFunc(h.out.Reactions, func(a, b act.Reaction) int { return a.At.Compare(b.At) })
	return h.out, err
}

// run keeps two loops: the key's, which is never kept waiting, and that of the
// layers around it.
func (h *hold) run(ctx context.Context) error {
	inner, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { h.sweepAt(inner, 5*time.Second) })
	layersDone := make(chan struct{})
	wg.Go(func() {
		defer close(layersDone)
		_ = h.loop(inner, h.holdAround) // what it cannot read is no reason to stop: the key's loop goes on
	})
	err := h.loop(ctx, h.holdKeys)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isGone(err):
		h.react("the user was deleted", "nothing is left to hold", true)
		return nil
	case err != nil:
		return explain(h.t.account, "iam:ListAccessKeys", err)
	}
	<-layersDone
	h.putSessions(ctx) // sessions minted during the lag have a later issue time
	h.sweep(ctx)
	return ctx.Err()
}

// pace is the time between two rounds. A hold in which somebody fights keeps the
// shortest; the quiet holds of an account share its rate, so that many at once do
// not get each other, and the acts to come, throttled.
func (h *hold) pace() time.Duration {
	if h.raised.Load() {
		return holdPeriod
	}
	shared := time.Duration(h.t.holds.Load()) * time.Second / holdRounds
	return min(max(shared, holdPeriod), holdMaxPeriod)
}

// loop calls round until the end of the hold. Throttling slows it down; only a
// refusal, or a user that is gone, ends it.
func (h *hold) loop(ctx context.Context, round func(context.Context) error) error {
	slow := 1.0 // grows while IAM throttles
	for {
		err := round(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && (isDenied(err) || isGone(err)) {
			return err
		}
		if err != nil && isThrottled(err) {
			slow = min(slow*2, float64(holdMaxPeriod/holdPeriod))
		} else {
			slow = max(slow*3/4, 1)
		}
		period := min(time.Duration(slow*float64(h.pace())), holdMaxPeriod)
		left := h.end.Sub(h.d.now())
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(jitter(period), left)) {
			return ctx.Err()
		}
	}
}

// holdAround looks at everything but the keys and answers what it sees.
func (h *hold) holdAround(ctx context.Context) error {
	var wg sync.WaitGroup
	var seen standing
	var errLook, errLogin error
	var login bool
	watch := h.sessions || h.denied
	if watch {
		wg.Go(func() { seen, errLook = h.look(ctx) })
	}
	wg.Go(func() { login, errLogin = h.hasLogin(ctx) })
	wg.Wait()
	if errLogin == nil {
		h.holdLogin(login)
	}
	if watch && errLook == nil {
		h.holdLayers(ctx, seen)
	}
	if h.raised.Load() && !h.denied {
		h.raise(ctx)
	}
	if !h.settled && h.d.now().Sub(h.start) >= h.d.settle {
		h.settled = true
		h.putSessions(ctx)
	}
	if isThrottled(errLook) || isThrottled(errLogin) {
		return cmp.Or(errLook, errLogin)
	}
	return nil
}

// holdKeys keeps the leaked key, and every key that appears, inactive.
//
// Once someone was seen to undo it, the leaked key is set without looking first:
// the look costs a call's time, in which the key stands open.
func (h *hold) holdKeys(ctx context.Context) error {
	var wg sync.WaitGroup
	if h.raised.Load() {
		wg.Go(func() { _ = h.t.setKey(ctx, h.t.keyID, types.StatusTypeInactive) }) // the next round sees whether it held
	}
	defer wg.Wait()
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
			h.raised.Store(true)
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
	h.raised.Store(true)
	if !active {
		h.react("new access key "+id, "it is inactive already", true)
		return
	}
	err := h.t.setKey(ctx, id, types.StatusTypeInactive)
	h.react("new access key "+id, "deactivated"+failed(err), true)
	if err == nil {
		h.effect(act.Effect{At: h.d.now().UTC(), Undo: byNameOnly(h.t.undoKey(id)), Detail: fmt.Sprintf("new access key %s of user %s in account %s was set to Inactive", id, h.t.user, h.t.ID)})
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
		h.raised.Store(true)
	}
	h.login = &now
}

// standing is what stands on the user.
type standing struct {
	inline, attached []string
	boundary         string
}

// look reads the policies and the boundary of the user.
func (h *hold) look(ctx context.Context) (standing, error) {
	c, user := h.t.reader, &h.t.user
	var st standing
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
			st.inline = append(st.inline, page.PolicyNames...)
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
				st.attached = append(st.attached, awssdk.ToString(p.PolicyArn))
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
				st.boundary = awssdk.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn)
			}
		})
	}
	wg.Wait()
	return st, cmp.Or(errs[0], errs[1], errs[2])
}

// holdLayers puts back what vanished, all at once, and notes policies that appear.
func (h *hold) holdLayers(ctx context.Context, st standing) {
	arn := DenyAllPolicyARN(h.t.Partition)
	all := slices.Concat(st.inline, st.attached)
	first := h.policies == nil
	if first {
		h.policies = map[string]bool{}
	}
	for _, p := range all {
		if !first && !h.policies[p] && !strings.HasPrefix(p, "Stanch") && p != arn {
			h.react("new policy on the user: "+p, "recorded; a deny outweighs it", true)
			h.raised.Store(true)
		}
		h.policies[p] = true
	}
	var wg sync.WaitGroup
	again := func(what, answer string, put func() error) {
		wg.Go(func() { h.react(what, answer+failed(put()), false) })
	}
	if h.sessions && !slices.Contains(st.inline, RevokeSessionsPolicy) {
		h.raised.Store(true)
		again("inline policy "+RevokeSessionsPolicy+" was removed", "put again", func() error { return h.d.putSessionDeny(ctx, h.t) })
	}
	if h.denied {
		for _, name := range layerNames(h.t.s.IncidentID) {
			if !slices.Contains(st.inline, name) && h.stands(name) {
				again("inline policy "+name+" was removed", "put again", func() error { return h.t.putPolicy(ctx, name, DenyAllDocument()) })
			}
		}
		if !slices.Contains(st.attached, arn) && h.stands("attached") {
			again("AWSDenyAll was detached", "attached again", func() error { return h.t.attach(ctx, arn) })
		}
		if st.boundary != arn && h.stands("boundary") {
			again("the permissions boundary was changed", "AWSDenyAll put again", func() error { return h.t.putBoundary(ctx, arn) })
		}
	}
	wg.Wait()
}

// stands reports whether a layer was accepted when it was put. Layers of an
// earlier act are all taken to stand: one that was refused then is put now.
func (h *hold) stands(layer string) bool {
	if h.layers.stand == nil {
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

// byNameOnly marks what "undo everything" leaves alone: a key that appeared while
// somebody fought the containment is most likely the attacker's.
func byNameOnly(undo map[string]string) map[string]string {
	undo[act.UndoByNameOnly] = "yes"
	return undo
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
