package aws

import (
	"context"
	"fmt"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"stanch/responder/act"
)

// direct provides our own credentials for the one account that they live in,
// where no role is assumed. Before their first use it asks STS whose they are:
// credentials of another account would act on its users of the same names.
type direct struct {
	own     awssdk.CredentialsProvider
	sts     *sts.Client
	account string
}

func (p direct) Retrieve(ctx context.Context) (awssdk.Credentials, error) {
	c, err := p.own.Retrieve(ctx)
	if err != nil {
		return c, err
	}
	me, err := p.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return awssdk.Credentials{}, fmt.Errorf("ask whose our own credentials are: %w", err)
	}
	if got := awssdk.ToString(me.Account); got != p.account {
		return awssdk.Credentials{}, foreignSelf{got, p.account}
	}
	return c, nil
}

// foreignSelf means that our own credentials are of another account than the one
// that they were to act in.
type foreignSelf struct{ got, want string }

func (e foreignSelf) Error() string {
	return "our own credentials are of account " + e.got + ", not of " + e.want + "; that account needs a role_arn"
}

func (e foreignSelf) Unwrap() error { return act.ErrPerson }
