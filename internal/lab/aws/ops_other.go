package labaws

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The little of other services that gives an attacker something to do.
var _ = add(map[string]operation{
	"s3:ListBuckets": {action: "s3:ListAllMyBuckets", run: listBuckets},
	"s3:GetObject": {action: "s3:GetObject", run: getObject, resource: func(c *call) string {
		return "arn:aws:s3:::" + c.path[0] + "/" + c.path[1]
	}},
	"ec2:RunInstances": {action: "ec2:RunInstances", run: runInstances, resource: func(c *call) string {
		return "arn:aws:ec2:" + c.region + ":" + c.who.account.id + ":instance/*"
	}},
	"ec2:DescribeInstances":         {action: "ec2:DescribeInstances", run: describeInstances},
	"secretsmanager:GetSecretValue": {action: "secretsmanager:GetSecretValue", run: getSecretValue, resource: secretResource},
	"account:ListRegions":           {action: "account:ListRegions", run: listRegions},
})

func listBuckets(c *call) (reply, *apiError) {
	var items []node
	for _, name := range slices.Sorted(maps.Keys(c.who.account.buckets)) {
		items = append(items, el("Bucket", el("Name", name), el("CreationDate", c.who.account.buckets[name].created)))
	}
	return reply{result: []node{el("Owner", el("ID", c.who.account.id)), el("Buckets", items)}}, nil
}

func getObject(c *call) (reply, *apiError) {
	b, ok := c.who.account.buckets[c.path[0]]
	if !ok {
		return reply{}, fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	data, ok := b.objects[c.path[1]]
	if !ok {
		return reply{}, fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
	}
	return reply{raw: append([]byte{}, data...)}, nil
}

func machineNodes(machines []machine, state string) node {
	var items []node
	for _, m := range machines {
		items = append(items, el("item", el("instanceId", m.id), el("imageId", m.image), el("instanceType", m.kind),
			el("instanceState", el("name", state)), el("launchTime", m.started)))
	}
	return el("instancesSet", items)
}

func runInstances(c *call) (reply, *apiError) {
	n := c.number("MinCount", 1)
	if n < 1 || n > 20 {
		return reply{}, fail(http.StatusBadRequest, "InvalidParameterValue", "MinCount must be between 1 and 20.")
	}
	var made []machine
	var logged []any
	for range n {
		m := machine{id: fmt.Sprintf("i-%017x", c.s.rng.Uint64()), kind: c.str("InstanceType"), image: c.str("ImageId"), started: c.now}
		made = append(made, m)
		logged = append(logged, map[string]any{"instanceId": m.id, "imageId": m.image, "instanceType": m.kind})
	}
	c.who.account.machines[c.region] = append(c.who.account.machines[c.region], made...)
	return reply{
		result:   []node{el("reservationId", fmt.Sprintf("r-%017x", c.s.rng.Uint64())), el("ownerId", c.who.account.id), machineNodes(made, "pending")},
		elements: map[string]any{"instancesSet": map[string]any{"items": logged}},
	}, nil
}

func describeInstances(c *call) (reply, *apiError) {
	var items []node
	machines := c.who.account.machines[c.region]
	if len(machines) > 0 {
		items = append(items, el("item", el("reservationId", "r-00000000000000001"), el("ownerId", c.who.account.id), machineNodes(machines, "running")))
	}
	return reply{result: []node{el("reservationSet", items)}}, nil
}

func (c *call) secretID() string {
	id, _ := c.json["SecretId"].(string)
	return id
}

func secretResource(c *call) string {
	_, s, ok := c.findSecret()
	if ok {
		return s.arn
	}
	if strings.HasPrefix(c.secretID(), "arn:") {
		return c.secretID()
	}
	return "arn:aws:secretsmanager:" + c.region + ":" + c.who.account.id + ":secret:" + c.secretID()
}

func (c *call) findSecret() (string, storedSecret, bool) {
	for name, s := range c.who.account.secrets {
		if name == c.secretID() || s.arn == c.secretID() {
			return name, s, true
		}
	}
	return "", storedSecret{}, false
}

func getSecretValue(c *call) (reply, *apiError) {
	name, s, ok := c.findSecret()
	if !ok {
		return reply{}, fail(http.StatusBadRequest, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	}
	return reply{json: map[string]any{
		"ARN": s.arn, "Name": name, "SecretString": s.value.Reveal(), "VersionStages": []string{"AWSCURRENT"},
	}}, nil
}

// listRegions shows the enabled Regions and, unless the status is filtered, a
// disabled one.
func listRegions(c *call) (reply, *apiError) {
	var wanted []string
	raw, _ := c.json["RegionOptStatusContains"].([]any)
	for _, v := range raw {
		s, _ := v.(string)
		wanted = append(wanted, s)
	}
	type region struct{ RegionName, RegionOptStatus string }
	var all []region
	if !slices.Contains(c.s.regions, "ap-southeast-6") {
		all = append(all, region{"ap-southeast-6", "DISABLED"})
	}
	for _, r := range c.s.regions {
		status := "ENABLED_BY_DEFAULT"
		if optIn(r) {
			status = "ENABLED"
		}
		all = append(all, region{r, status})
	}
	slices.SortFunc(all, func(a, b region) int { return strings.Compare(a.RegionName, b.RegionName) })
	var kept []region
	for _, r := range all {
		if len(wanted) == 0 || slices.Contains(wanted, r.RegionOptStatus) {
			kept = append(kept, r)
		}
	}
	start := 0
	if token, ok := c.json["NextToken"].(string); ok {
		_, err := fmt.Sscanf(token, "region-%d", &start)
		if err != nil || start < 0 || start > len(kept) {
			return reply{}, fail(http.StatusBadRequest, "ValidationException", "Invalid NextToken.")
		}
	}
	most := 20
	if n, ok := c.json["MaxResults"].(float64); ok {
		if n < 1 || n > 50 {
			return reply{}, fail(http.StatusBadRequest, "ValidationException", "MaxResults must be between 1 and 50.")
		}
		most = int(n)
	}
	end := min(start+most, len(kept))
	out := map[string]any{"Regions": kept[start:end]}
	if end < len(kept) {
		out["NextToken"] = fmt.Sprintf("region-%d", end)
	}
	return reply{json: out}, nil
}

func optIn(region string) bool {
	switch region {
	case "us-east-1", "us-east-2", "us-west-1", "us-west-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3",
		"ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1", "eu-north-1",
		"eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1":
		return false
	}
	return true
}
