package cloudtrail

import (
	"context"
	"fmt"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/account/types"
)

// globalRegion is where the global services of partition aws write their events.
const globalRegion = "us-east-1"

// fallbackRegions are the Regions that every account of partition aws has on,
// used, and said to be used, when the list of enabled ones cannot be read.
var fallbackRegions = []string{"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
	"eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"}

type knownRegions struct {
	list []string
	at   time.Time
}

// regionsOf lists the Regions of an account's trail: as configured, else the
// enabled ones, opted-in ones too, read at most once an hour. With an error it
// gives the Regions that are on in every account.
func (s *Source) regionsOf(ctx context.Context, accountID string) ([]string, error) {
	configured := s.accounts.AccountRegions(accountID)
	if len(configured) > 0 {
		return withGlobal(configured), nil
	}
	s.mu.Lock()
	known := s.regions[accountID]
	s.mu.Unlock()
	if known.list != nil && s.now().Sub(known.at) < time.Hour {
		return known.list, nil
	}
	list, err := s.askRegions(ctx, accountID)
	if err != nil {
		return fallbackRegions, err
	}
	list = withGlobal(list)
	s.mu.Lock()
	s.regions[accountID] = knownRegions{list: list, at: s.now()}
	s.mu.Unlock()
	return list, nil
}

func withGlobal(list []string) []string {
	list = slices.Clone(list)
	partition := false // us-gov and cn Regions have global Regions of their own
	for _, r := range list {
		partition = partition || len(r) > 3 && (r[:3] == "cn-" || r[:7] == "us-gov-")
	}
	if !partition && !slices.Contains(list, globalRegion) {
		list = append(list, globalRegion)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (s *Source) askRegions(ctx context.Context, accountID string) ([]string, error) {
	cfg, err := s.accounts.Config(accountID, globalRegion)
	if err != nil {
		return nil, err
	}
	client := account.NewFromConfig(cfg)
	var out []string
	var token *string
	for page := 0; ; page++ {
		var res *account.ListRegionsOutput
		for try := 1; ; try++ {
			attempt, cancel := context.WithTimeout(ctx, pageTimeout)
			res, err = client.ListRegions(attempt, &account.ListRegionsInput{
				RegionOptStatusContains: []types.RegionOptStatus{types.RegionOptStatusEnabled, types.RegionOptStatusEnabledByDefault}, NextToken: token,
			})
			cancel()
			if err == nil || !isThrottled(err) && !isPassing(err) || try == 5 || !sleep(ctx, time.Duration(try)*200*time.Millisecond) {
				break
			}
		}
		if err != nil {
			return nil, err
		}
		for _, r := range res.Regions {
			out = append(out, awssdk.ToString(r.RegionName))
		}
		token = res.NextToken
		if awssdk.ToString(token) == "" {
			break
		}
		if page == 20 {
			return nil, fmt.Errorf("list Regions: more than %d pages", page)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("list Regions: AWS named none")
	}
	return out, nil
}
