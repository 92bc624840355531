package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"stanch/responder/act"
)

// deactivate sets the leaked key to Inactive with our role. The snapshot of the
// user for the report is read at the same time and given half a second.
func (d *Driver) deactivate(ctx context.Context, t target, repeat bool) (act.Effect, error) {
	gone := func() (act.Effect, error) {
		return act.Effect{}, fmt.Errorf("key %s no longer exists in account %s: %w", t.keyID, t.ID, act.ErrGone)
	}
	err := t.resolve(ctx, false)
	if errors.Is(err, errNoKey) {
		return gone()
	}
	if err != nil {
		return act.Effect{}, explain(t.account, "iam:GetAccessKeyLastUsed", err)
	}
	if repeat {
		key, err := t.key(ctx, t.user, t.keyID)
		if err == nil && key.Status == types.StatusTypeInactive {
			return act.Effect{
				Already: true, At: d.now().UTC(), Undo: t.undoKey(t.keyID), Facts: map[string]string{"user_name": t.user, "key_status": "Inactive"},
				Detail: fmt.Sprintf("access key %s of user %s in account %s was inactive already", t.keyID, t.user, t.ID),
			}, nil
		}
		if err != nil && !errors.Is(err, errNoKey) && !isPassing(err) && !isDenied(err) {
			return act.Effect{}, explain(t.account, "iam:ListAccessKeys", err)
		}
	}
	collect := d.snapshot(ctx, t)
	err = t.setKey(ctx, t.keyID, types.StatusTypeInactive)
	if isGone(err) { // the name that we had may be an old one
		err = t.resolve(ctx, true)
		if errors.Is(err, errNoKey) {
			return gone()
		}
		if err == nil {
			collect = d.snapshot(ctx, t)
			err = t.setKey(ctx, t.keyID, types.StatusTypeInactive)
		}
	}
	if err != nil {
		return act.Effect{}, explain(t.account, "iam:UpdateAccessKey", err)
	}
	at := d.now().UTC()
	facts := collect()
	facts["user_name"], facts["key_status"] = t.user, "Inactive"
	return act.Effect{
		At: at, Undo: t.undoKey(t.keyID), Facts: facts,
		Detail: fmt.Sprintf("access key %s of user %s in account %s was set to Inactive", t.keyID, t.user, t.ID),
	}, nil
}

func (t target) undoKey(keyID string) map[string]string {
	return map[string]string{"verb": VerbReactivate, "account": t.ID, "user_name": t.user, "access_key_id": keyID}
}

func (t target) setKey(ctx context.Context, keyID string, status types.StatusType) error {
	_, err := t.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &t.user, AccessKeyId: &keyID, Status: status})
	return err
}

// reactivate sets a key that we deactivated to Active again.
func (d *Driver) reactivate(ctx context.Context, t target, undo map[string]string) (act.Effect, error) {
	keyID := undo["access_key_id"]
	if keyID == "" || undo["account"] != "" && undo["account"] != t.ID {
		return act.Effect{}, fmt.Errorf("the record of the act does not fit account %s: %w", t.ID, act.ErrPerson)
	}
	err := t.setKey(ctx, keyID, types.StatusTypeActive)
	if err != nil {
		return act.Effect{}, explain(t.account, "iam:UpdateAccessKey", err)
	}
	return act.Effect{
		At:     d.now().UTC(),
		Facts:  map[string]string{"key_status": "Active"},
		Detail: fmt.Sprintf("access key %s of user %s in account %s was set to Active again", keyID, t.user, t.ID),
	}, nil
}

// snapshotBudget is how long an act waits for the snapshot; what is missing by
// then stays missing.
const snapshotBudget = 500 * time.Millisecond
