package aws

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"stanch/responder/act"
)

func isGone(err error) bool {
	code := codeOf(err)
	return code == "NoSuchEntity" || code == "NoSuchEntityException"
}

func isDenied(err error) bool { return strings.HasPrefix(codeOf(err), "AccessDenied") }

func isThrottled(err error) bool {
	return slices.Contains(throttleCodes, codeOf(err)) || statusOf(err) == 429
}

// isPassing reports whether the same call may succeed later.
func isPassing(err error) bool {
	code := codeOf(err)
	return isThrottled(err) || slices.Contains(passingCodes, code) || statusOf(err) >= 500 || code == "" || code == "UnknownError" ||
		code == "RequestTimeout" || code == "RequestTimeoutException"
}

// explain maps a provider's error to what the engine understands: to be tried
// again, for a person, or gone. doing is the operation, as "iam:UpdateAccessKey".
func explain(a *account, doing string, err error) error {
	if err == nil {
		return nil
	}
	why := reasonOf(err)
	var op *smithy.OperationError
	assuming := false
	for e := err; errors.As(e, &op); e = op.Err {
		if op.Service() == "STS" && op.Operation() == "AssumeRole" {
			assuming = true
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	case errors.Is(err, act.ErrPerson):
		return fmt.Errorf("%s: %s: %w", doing, why, act.ErrPerson)
	case assuming && isDenied(err):
		return fmt.Errorf("assume role %s in account %s: %s; check its trust policy and external id: %w", a.RoleARN, a.ID, why, act.ErrPerson)
	case isDenied(err):
		return fmt.Errorf("%s in account %s: %s; %s that permission, or do it by hand: %w", doing, a.ID, why, whoNeeds(a), act.ErrPerson)
	case isGone(err):
		return fmt.Errorf("%s: the key or its user no longer exists: %w", doing, act.ErrGone)
	case isPassing(err):
		return &act.Retry{After: retryAfter(err), Err: fmt.Errorf("%s: %s", doing, why)}
	}
	return fmt.Errorf("%s: %s: %w", doing, why, act.ErrPerson)
}

func whoNeeds(a *account) string {
	if a.RoleARN == "" {
		return "our own credentials need"
	}
	return "our role " + a.RoleARN + " needs"
}

func retryAfter(err error) time.Duration {
	if isThrottled(err) {
		return 2 * time.Second
	}
	return time.Second
}
