package aws

import (
	"context"
	"errors"
	"fmt"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// errNoKey means that IAM proved that the account has no such key.
var errNoKey = errors.New("no such access key")

// searchUsers bounds the search through an account's users that is made when
// IAM does not tell a key's user by its id.
const searchUsers = 300

type owner struct{ user, lastUsed string }

// find asks whose key it is. IAM answers for unknown ids with AccessDenied or
// NoSuchEntity; the first may also mean that our role lacks the permission, so
// it is settled by looking through the users.
func (a *account) find(ctx context.Context, keyID string) (owner, error) {
	out, err := a.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &keyID})
	if err == nil {
		o := owner{user: awssdk.ToString(out.UserName)}
		if u := out.AccessKeyLastUsed; u != nil && u.LastUsedDate != nil {
			o.lastUsed = fmt.Sprintf("%s %s %s", u.LastUsedDate.UTC().Format(time.RFC3339), awssdk.ToString(u.ServiceName), awssdk.ToString(u.Region))
		}
		if o.user != "" {
			a.remember(keyID, o.user)
			return o, nil
		}
		return a.search(ctx, keyID, errNoKey)
	}
	if isGone(err) {
		return owner{}, errNoKey
	}
	if isDenied(err) {
		return a.search(ctx, keyID, err)
	}
	return owner{}, err
}

// search looks through the users for a key; otherwise is the answer when there
// are too many users, or when they may not be listed.
func (a *account) search(ctx context.Context, keyID string, otherwise error) (owner, error) {
	pages := iam.NewListUsersPaginator(a.iam, &iam.ListUsersInput{MaxItems: awssdk.Int32(searchUsers)})
	seen := 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			if isPassing(err) {
				return owner{}, err
			}
			return owner{}, otherwise
		}
		for _, u := range page.Users {
			seen++
			if seen > searchUsers {
				return owner{}, otherwise
			}
			name := awssdk.ToString(u.UserName)
			_, err := a.key(ctx, name, keyID)
			if err == nil {
				a.remember(keyID, name)
				return owner{user: name}, nil
			}
			if !errors.Is(err, errNoKey) {
				return owner{}, err
			}
		}
	}
	return owner{}, errNoKey
}

// key reads one key of a user.
func (a *account) key(ctx context.Context, user, keyID string) (types.AccessKeyMetadata, error) {
	keys, err := listKeys(ctx, a.iam, user)
	if isGone(err) {
		return types.AccessKeyMetadata{}, errNoKey
	}
	if err != nil {
		return types.AccessKeyMetadata{}, err
	}
	for _, k := range keys {
		if awssdk.ToString(k.AccessKeyId) == keyID {
			return k, nil
		}
	}
	return types.AccessKeyMetadata{}, errNoKey
}

// listKeys reads all keys of a user: two at most, but the quota is the
// provider's to change.
func listKeys(ctx context.Context, client *iam.Client, user string) ([]types.AccessKeyMetadata, error) {
	var out []types.AccessKeyMetadata
	pages := iam.NewListAccessKeysPaginator(client, &iam.ListAccessKeysInput{UserName: &user})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, page.AccessKeyMetadata...)
	}
	return out, nil
}

func (a *account) remember(keyID, user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.users) > 10000 {
		clear(a.users)
	}
	a.users[keyID] = user
}

func (a *account) known(keyID string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.users[keyID]
}

// resolve names the user of the target's key: as identify told, as found
// earlier, or as IAM says now. A wrong hint does no harm: IAM refuses a key id
// under another user's name with NoSuchEntity.
func (t *target) resolve(ctx context.Context, fresh bool) error {
	if !fresh {
		t.user = cmpOr(t.s.Facts["user_name"], t.known(t.keyID))
		if t.user != "" {
			return nil
		}
	}
	o, err := t.find(ctx, t.keyID)
	if err != nil {
		return err
	}
	t.user = o.user
	return nil
}
