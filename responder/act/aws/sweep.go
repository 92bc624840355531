package aws

import (
	"context"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"stanch/responder/act"
)

// sweepPages bounds one sweep of a large account.
const sweepPages = 50

// sweepAt sweeps once after a delay.
func (h *hold) sweepAt(ctx context.Context, after time.Duration) {
	if h.end.Sub(h.start) > after && sleep(ctx, after) {
		h.sweep(ctx)
	}
}

// sweep looks for users and roles that were created since the exposure. IAM does
// not tell who created them; the trail does, later. It needs no trail, so it
// finds within seconds what an attacker prepared to come back with.
func (h *hold) sweep(ctx context.Context) {
	since := h.since.Add(-exposureMargin)
	pages := iam.NewGetAccountAuthorizationDetailsPaginator(h.t.reader, &iam.GetAccountAuthorizationDetailsInput{
		Filter: []types.EntityType{types.EntityTypeUser, types.EntityTypeRole},
	})
	for n := 0; pages.HasMorePages(); n++ {
		if n == sweepPages {
			h.react("the sweep for new users and roles", "stopped after many pages; look at the rest by hand", true)
			return
		}
		page, err := h.nextPage(ctx, pages)
		if err != nil {
			if ctx.Err() == nil {
				h.react("the sweep for new users and roles", "was not possible: "+reasonOf(err), true)
			}
			return
		}
		for _, u := range page.UserDetailList {
			name := awssdk.ToString(u.UserName)
			if u.CreateDate != nil && !u.CreateDate.Before(since) && name != h.t.user {
				h.newUser(ctx, name, *u.CreateDate)
			}
		}
		for _, r := range page.RoleDetailList {
			if r.CreateDate != nil && !r.CreateDate.Before(since) {
				h.react(fmt.Sprintf("role %s was created at %s, about the time of the exposure", awssdk.ToString(r.RoleName), stamp(r.CreateDate)),
					"recorded; who created it stands in the trail", true)
			}
		}
	}
}

// nextPage repeats a page that did not come; the loop's own client makes one attempt.
func (h *hold) nextPage(ctx context.Context, pages *iam.GetAccountAuthorizationDetailsPaginator) (*iam.GetAccountAuthorizationDetailsOutput, error) {
	for try := 1; ; try++ {
		page, err := pages.NextPage(ctx)
		if err == nil || !isPassing(err) || try == 4 || !sleep(ctx, jitter(time.Duration(try)*300*time.Millisecond)) {
			return page, err
		}
	}
}

func (h *hold) newUser(ctx context.Context, name string, created time.Time) {
	what := fmt.Sprintf("user %s was created at %s, about the time of the exposure", name, stamp(&created))
	if !h.d.containExtra {
		h.react(what, "recorded; who created it stands in the trail", true)
		return
	}
	t := h.t
	t.user = name
	keys, err := listKeys(ctx, t.iam, name)
	if err != nil {
		h.react(what, "its keys could not be listed: "+reasonOf(err), true)
		return
	}
	answer := "it has no active access key"
	for _, k := range keys {
		id := awssdk.ToString(k.AccessKeyId)
		if k.Status != types.StatusTypeActive || id == h.t.keyID {
			continue
		}
		err := t.setKey(ctx, id, types.StatusTypeInactive)
		answer = "key " + id + " deactivated" + failed(err)
		h.react(what, answer, true)
		if err == nil {
			h.effect(act.Effect{At: h.d.now().UTC(), Undo: byNameOnly(t.undoKey(id)), Detail: fmt.Sprintf("access key %s of new user %s in account %s was set to Inactive", id, name, t.ID)})
		}
	}
	if answer == "it has no active access key" {
		h.react(what, answer, true)
	}
}
