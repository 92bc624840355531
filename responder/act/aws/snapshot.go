package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// snapshot starts to read what the report tells about the user, and returns a
// function that waits for it within the budget and gives what has arrived. No
// failure of it matters to the act.
func (d *Driver) snapshot(ctx context.Context, t target) func() map[string]string {
	ctx, cancel := context.WithTimeout(ctx, snapshotBudget)
	var mu sync.Mutex
	facts := map[string]string{}
	put := func(k, v string) {
		mu.Lock()
		defer mu.Unlock()
		facts[k] = v
	}
	user := &t.user
	c := t.reader
	reads := []func(){
		func() {
			out, err := c.GetUser(ctx, &iam.GetUserInput{UserName: user})
			if err != nil || out.User == nil {
				return
			}
			put("user_created", stamp(out.User.CreateDate))
			put("arn", awssdk.ToString(out.User.Arn))
			put("path", awssdk.ToString(out.User.Path))
			boundary := "none"
			if b := out.User.PermissionsBoundary; b != nil {
				boundary = awssdk.ToString(b.PermissionsBoundaryArn)
			}
			put("permissions_boundary", boundary)
		},
		func() {
			keys, err := listKeys(ctx, c, t.user)
			if err != nil {
				return
			}
			var others []string
			for _, k := range keys {
				id := awssdk.ToString(k.AccessKeyId)
				if id == t.keyID {
					put("key_created", stamp(k.CreateDate))
					continue
				}
				others = append(others, fmt.Sprintf("%s %s since %s", id, k.Status, stamp(k.CreateDate)))
			}
			put("other_keys", list(others))
		},
		func() {
			out, err := c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &t.keyID})
			if err != nil {
				return
			}
			last := "never"
			if u := out.AccessKeyLastUsed; u != nil && u.LastUsedDate != nil {
				last = strings.Join([]string{stamp(u.LastUsedDate), awssdk.ToString(u.ServiceName), awssdk.ToString(u.Region)}, " ")
			}
			put("last_used", last)
		},
		func() {
			out, err := c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: user})
			if err == nil {
				put("inline_policies", list(out.PolicyNames))
			}
		},
		func() {
			out, err := c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: user})
			if err != nil {
				return
			}
			var names []string
			for _, p := range out.AttachedPolicies {
				names = append(names, awssdk.ToString(p.PolicyArn))
			}
			put("attached_policies", list(names))
		},
		func() {
			out, err := c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: user})
			if err != nil {
				return
			}
			var names []string
			for _, g := range out.Groups {
				names = append(names, awssdk.ToString(g.GroupName))
			}
			put("groups", list(names))
		},
		func() {
			out, err := c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: user})
			if err == nil {
				put("mfa_devices", fmt.Sprint(len(out.MFADevices)))
			}
		},
		func() {
			out, err := c.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: user})
			switch {
			case err == nil && out.LoginProfile != nil:
				put("login_profile", "since "+stamp(out.LoginProfile.CreateDate))
			case isGone(err):
				put("login_profile", "none")
			}
		},
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for _, read := range reads {
		wg.Go(read)
	}
	go func() {
		wg.Wait()
		close(done)
	}()
	return func() map[string]string {
		defer cancel()
		select {
		case <-done:
		case <-ctx.Done():
		}
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(facts)
	}
}

func stamp(t *time.Time) string {
	if t == nil {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

// list joins names for a fact, sorted and bounded.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	names = slices.Sorted(slices.Values(names))
	if len(names) > 20 {
		names = append(names[:20], fmt.Sprintf("and %d more", len(names)-20))
	}
	return strings.Join(names, ", ")
}
