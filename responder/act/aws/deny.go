package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"stanch/responder/act"
)

// Facts that tell Hold which layers stand.
const (
	factSessions = "deny_sessions_policy" // name of the inline policy
	factDenyAll  = "deny_all_policies"    // names of the inline policies, comma separated
)

// denySessions puts the inline policy that denies sessions issued before now.
// Sessions that are minted while the deactivation of the key takes effect have a
// later issue time: Hold puts the policy again with a later one.
func (d *Driver) denySessions(ctx context.Context, t target) (act.Effect, error) {
	err := t.resolve(ctx, false)
	if err == nil {
		err = d.putSessionDeny(ctx, t)
		if isGone(err) {
			err = t.resolve(ctx, true)
			if err == nil {
				err = d.putSessionDeny(ctx, t)
			}
		}
	}
	switch {
	case errors.Is(err, errNoKey):
		return act.Effect{}, fmt.Errorf("key %s no longer exists in account %s: %w", t.keyID, t.ID, act.ErrGone)
	case codeOf(err) == "LimitExceeded" || codeOf(err) == "LimitExceededException":
		return act.Effect{}, fmt.Errorf("iam:PutUserPolicy: user %s has no room for another inline policy (2,048 characters); "+
			"aws.deny_all attaches a managed policy instead, but stops the whole user: %w", t.user, act.ErrPerson)
	case err != nil:
		return act.Effect{}, explain(t.account, "iam:PutUserPolicy", err)
	}
	return act.Effect{
		At:     d.now().UTC(),
		Detail: fmt.Sprintf("sessions of user %s in account %s from before now are denied (inline policy %s)", t.user, t.ID, RevokeSessionsPolicy),
		Undo:   map[string]string{"verb": VerbAllowSessions, "account": t.ID, "user_name": t.user, "inline": RevokeSessionsPolicy},
		Facts:  map[string]string{"user_name": t.user, factSessions: RevokeSessionsPolicy},
	}, nil
}

func (d *Driver) putSessionDeny(ctx context.Context, t target) error {
	return t.putPolicy(ctx, RevokeSessionsPolicy, SessionDenyDocument(roundUp(d.now())))
}

func (t target) putPolicy(ctx context.Context, name, document string) error {
	defer t.write()()
	_, err := t.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &t.user, PolicyName: &name, PolicyDocument: &document})
	return err
}

func (t target) attach(ctx context.Context, arn string) error {
	defer t.write()()
	_, err := t.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &t.user, PolicyArn: &arn})
	return err
}

func (t target) putBoundary(ctx context.Context, arn string) error {
	defer t.write()()
	_, err := t.iam.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &t.user, PermissionsBoundary: &arn})
	return err
}

// write waits for one of the account's writing slots and returns how to free it.
func (a *account) write() func() {
	a.writes <- struct{}{}
	return func() { <-a.writes }
}

// denyAll puts the layers of the strongest level that an account can do by
// itself: inline denies with distinct names, AWSDenyAll attached, and AWSDenyAll
// as permissions boundary. It succeeds when at least one layer stands, and says
// which do not.
func (d *Driver) denyAll(ctx context.Context, t target, repeat bool) (act.Effect, error) {
	err := t.resolve(ctx, false)
	if errors.Is(err, errNoKey) {
		return act.Effect{}, fmt.Errorf("key %s no longer exists in account %s: %w", t.keyID, t.ID, act.ErrGone)
	}
	if err != nil {
		return act.Effect{}, explain(t.account, "iam:GetAccessKeyLastUsed", err)
	}
	l, err := d.putLayers(ctx, t, repeat)
	if err != nil {
		return act.Effect{}, err
	}
	e := act.Effect{
		At: d.now().UTC(), Undo: l.undo(t),
		Facts:  map[string]string{"user_name": t.user, factDenyAll: strings.Join(layerNames(t.s.IncidentID), ",")},
		Detail: fmt.Sprintf("everything is denied to user %s in account %s: %s", t.user, t.ID, strings.Join(l.stand, ", ")),
	}
	if len(l.missing) > 0 {
		e.Detail += "; not possible: " + strings.Join(l.missing, ", ")
	}
	return e, nil
}

// layers is what putLayers did.
type layers struct {
	inline         []string
	attached       string
	boundary       string
	boundaryBefore string // "" none, "unknown" when it could not be read
	stand, missing []string
}

func (l layers) undo(t target) map[string]string {
	return map[string]string{
		"verb": VerbRemoveDeny, "account": t.ID, "user_name": t.user, "inline": strings.Join(l.inline, ","),
		"attached": l.attached, "boundary": l.boundary, "boundary_before": l.boundaryBefore,
	}
}

// putLayers puts every deny layer. Each layer that is refused is noted; when
// none stands, the first refusal is the error.
func (d *Driver) putLayers(ctx context.Context, t target, repeat bool) (layers, error) {
	var l layers
	var firstErr error
	var mu sync.Mutex
	note := func(doing, stands string, err error, keep func()) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			l.stand = append(l.stand, stands)
			keep()
			return
		}
		l.missing = addUnique(l.missing, doing+" ("+reasonOf(err)+")")
		if firstErr == nil {
			firstErr = explain(t.account, doing, err)
		}
	}
	arn := DenyAllPolicyARN(t.Partition)
	var wg sync.WaitGroup
	for _, name := range layerNames(t.s.IncidentID) {
		wg.Go(func() {
			err := t.putPolicy(ctx, name, DenyAllDocument())
			note("iam:PutUserPolicy", "inline policy "+name, err, func() { l.inline = append(l.inline, name) })
		})
	}
	wg.Go(func() {
		err := t.attach(ctx, arn)
		note("iam:AttachUserPolicy", "AWSDenyAll attached", err, func() { l.attached = arn })
	})
	wg.Go(func() {
		before, err := t.boundaryBefore(ctx, arn, repeat)
		if err != nil {
			note("iam:GetUser", "", err, nil)
			return
		}
		err = t.putBoundary(ctx, arn)
		note("iam:PutUserPermissionsBoundary", "AWSDenyAll as permissions boundary", err, func() { l.boundary, l.boundaryBefore = arn, before })
	})
	wg.Wait()
	slices.Sort(l.inline)
	slices.Sort(l.stand)
	if len(l.stand) == 0 {
		return l, firstErr
	}
	return l, nil
}

// boundaryBefore reads the boundary that undo must put back. When an earlier
// attempt may have replaced it already, only the snapshot of the first act knows.
func (t target) boundaryBefore(ctx context.Context, ours string, repeat bool) (string, error) {
	switch known := t.s.Facts["permissions_boundary"]; known {
	case "", ours:
	case "none":
		return "", nil
	default:
		return known, nil
	}
	out, err := t.iam.GetUser(ctx, &iam.GetUserInput{UserName: &t.user})
	if err != nil {
		return "", err
	}
	if out.User == nil || out.User.PermissionsBoundary == nil {
		return "", nil
	}
	now := awssdk.ToString(out.User.PermissionsBoundary.PermissionsBoundaryArn)
	if now == ours && repeat {
		return "unknown", nil
	}
	return now, nil
}

// removeDeny takes back deny layers by the names that were recorded, and puts
// back the boundary that was there before.
func (d *Driver) removeDeny(ctx context.Context, t target, undo map[string]string) (act.Effect, error) {
	if undo["account"] != "" && undo["account"] != t.ID {
		return act.Effect{}, fmt.Errorf("the record of the act does not fit account %s: %w", t.ID, act.ErrPerson)
	}
	already := true
	step := func(doing string, err error) error {
		if err == nil {
			already = false
			return nil
		}
		if isGone(err) {
			return nil
		}
		return explain(t.account, doing, err)
	}
	switch before := undo["boundary_before"]; {
	case undo["boundary"] == "" || before == undo["boundary"]:
	case before == "unknown":
		return act.Effect{}, fmt.Errorf("the permissions boundary that user %s had before is not known; set it by hand, then undo again without it: %w", t.user, act.ErrPerson)
	case before == "":
		_, err := t.iam.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: &t.user})
		err = step("iam:DeleteUserPermissionsBoundary", err)
		if err != nil {
			return act.Effect{}, err
		}
	default:
		_, err := t.iam.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: &t.user, PermissionsBoundary: &before})
		err = step("iam:PutUserPermissionsBoundary", err)
		if err != nil {
			return act.Effect{}, err
		}
	}
	if arn := undo["attached"]; arn != "" {
		_, err := t.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &t.user, PolicyArn: &arn})
		err = step("iam:DetachUserPolicy", err)
		if err != nil {
			return act.Effect{}, err
		}
	}
	names := slices.DeleteFunc(strings.Split(undo["inline"], ","), func(s string) bool { return s == "" })
	for _, name := range names {
		if !strings.HasPrefix(name, "Stanch") {
			return act.Effect{}, fmt.Errorf("inline policy %q is not one of ours: %w", name, act.ErrPerson)
		}
		_, err := t.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &t.user, PolicyName: &name})
		err = step("iam:DeleteUserPolicy", err)
		if err != nil {
			return act.Effect{}, err
		}
	}
	return act.Effect{
		Already: already, At: d.now().UTC(),
		Detail: fmt.Sprintf("the deny layers were taken off user %s in account %s", t.user, t.ID),
	}, nil
}

func addUnique(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}
