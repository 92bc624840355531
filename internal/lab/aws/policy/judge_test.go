package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The judge is @cloud-copilot/iam-simulate (AGPL), installed into the user's
// cache for this test alone; nothing of it is part of the project.
const judgePackage = "@cloud-copilot/iam-simulate@0.1.173"

const judgeScript = `
import { runSimulation } from '@cloud-copilot/iam-simulate'
let text = ''
for await (const chunk of process.stdin) text += chunk
const out = []
for (const e of JSON.parse(text)) {
  const context = {}
  for (const [k, v] of Object.entries(e.context ?? {})) context[k] = v.length === 1 && k !== 'aws:TagKeys' ? v[0] : v
  const named = (list) => (list ?? []).map((p, i) => ({ name: 'p' + i, policy: JSON.parse(p) }))
  const r = await runSimulation({
    request: { principal: '` + botARN + `', action: e.action, resource: { resource: e.resource, accountId: '111122223333' }, contextVariables: context },
    identityPolicies: named(e.identity),
    permissionBoundaryPolicies: e.boundary ? named([e.boundary]) : undefined,
    serviceControlPolicies: e.control ? [{ orgIdentifier: 'r', policies: named(e.control) }] : [],
    resourceControlPolicies: [],
  }, {})
  out.push(r.resultType === 'error' ? 'error ' + JSON.stringify(r.errors) : r.overallResult)
}
console.log(JSON.stringify(out))
`

func judgeAll(t *testing.T, cases []example) []string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not there: the independent policy engine cannot be installed")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "stanch-test", "iam")
	err = os.MkdirAll(folder, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(filepath.Join(folder, "node_modules", "@cloud-copilot", "iam-simulate", "package.json"))
	if err != nil {
		install := exec.CommandContext(t.Context(), npm, "install", "--silent", "--no-fund", "--no-audit", "--prefix", folder, judgePackage)
		out, err := install.CombinedOutput()
		if err != nil {
			t.Fatalf("install %s: %v\n%s", judgePackage, err, out)
		}
	}
	script := filepath.Join(folder, "judge.mjs")
	err = os.WriteFile(script, []byte(judgeScript), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", script)
	node.Dir = folder
	node.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	node.Stderr = &stderr
	out, err := node.Output()
	if err != nil {
		t.Fatalf("run judge: %v\n%s", err, stderr.String())
	}
	var verdicts []string
	err = json.Unmarshal(out, &verdicts)
	if err != nil || len(verdicts) != len(cases) {
		t.Fatalf("judge answered %d of %d: %v", len(verdicts), len(cases), err)
	}
	return verdicts
}

func TestAgainstAnIndependentEngine(t *testing.T) {
	cases := append([]example{}, examples...)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 1500 {
		cases = append(cases, randomExample(rng, i))
	}
	theirs := map[string]string{"Allowed": "allowed", "ExplicitlyDenied": "denied", "ImplicitlyDenied": "missing"}
	seen := map[string]int{}
	wrong := 0
	for i, verdict := range judgeAll(t, cases) {
		e := cases[i]
		got := e.decide(t)
		seen[got]++
		if theirs[verdict] == got {
			continue
		}
		wrong++
		if wrong <= 10 {
			text, _ := json.Marshal(e)
			t.Errorf("%s: we say %s, the judge %s\n%s", e.Name, got, verdict, text)
		}
	}
	t.Logf("%d cases, %d differ, ours by verdict: %v", len(cases), wrong, seen)
	for _, v := range []string{"allowed", "denied", "missing"} {
		if seen[v] < 100 {
			t.Errorf("only %d cases are %s: the sample proves little", seen[v], v)
		}
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomExample(rng *rand.Rand, n int) example {
	call := pick(rng, [2]string{"iam:GetUser", botARN}, [2]string{"iam:UpdateAccessKey", botARN}, [2]string{"iam:DeleteUserPolicy", "arn:aws:iam::111122223333:user/alice"},
		[2]string{"s3:GetObject", "arn:aws:s3:::acme/a/b"}, [2]string{"s3:ListAllMyBuckets", "*"}, [2]string{"secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:111122223333:secret:db-AbCdEf"})
	e := example{Name: fmt.Sprintf("random %d", n), Action: call[0], Resource: call[1], Context: map[string][]string{}}
	for key, values := range map[string][]string{
		"aws:TokenIssueTime": {"2026-11-22T09:00:00Z", "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"}, "aws:PrincipalArn": {botARN},
		"aws:SourceIp": {"203.0.113.66", "198.51.100.7"}, "aws:username": {"deploy-bot"}, "aws:PrincipalTag/team": {"a", "ab", "b"},
		"aws:SecureTransport": {"true", "false"}, "aws:MultiFactorAuthPresent": {"true", "false"},
	} {
		if rng.IntN(2) == 0 {
			e.Context[key] = []string{pick(rng, values...)}
		}
	}
	for range 1 + rng.IntN(3) {
		e.Identity = append(e.Identity, randomPolicy(rng, 3))
	}
	if rng.IntN(4) == 0 {
		e.Boundary = randomPolicy(rng, 6)
	}
	if rng.IntN(4) == 0 {
		e.Control = []string{allowAll, randomPolicy(rng, 2)}
	}
	return e
}

// randomPolicy allows in about allows of allows+1 statements.
func randomPolicy(rng *rand.Rand, allows int) string {
	var statements []string
	for range 1 + rng.IntN(3) {
		effect := "Allow"
		if rng.IntN(allows+1) == 0 {
			effect = "Deny"
		}
		action := pick(rng, `"Action":"*"`, `"Action":["iam:*","s3:*"]`, `"Action":"iam:Get*"`, `"Action":"S3:getobject"`, `"Action":"iam:*AccessKey"`,
			`"NotAction":"iam:*"`, `"NotAction":["s3:List*","iam:Update*"]`, `"Action":"secretsmanager:GetSecretValu?"`)
		resource := pick(rng, `"Resource":"*"`, `"Resource":"*"`, `"Resource":["arn:aws:iam::111122223333:user/ci/*","arn:aws:s3:::acme/*"]`, `"Resource":"arn:aws:iam::*:user/*"`,
			`"NotResource":"arn:aws:s3:::acme/*"`, `"Resource":"arn:aws:secretsmanager:*:111122223333:secret:db-??????"`)
		condition := ""
		if rng.IntN(2) == 0 {
			condition = `,"Condition":{` + pick(rng, conditionsPool...) + `}`
		}
		statements = append(statements, `{"Effect":"`+effect+`",`+action+`,`+resource+condition+`}`)
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

var conditionsPool = []string{
	`"DateLessThan":{"aws:TokenIssueTime":"2026-11-22T10:00:00Z"}`,
	`"DateLessThanIfExists":{"aws:TokenIssueTime":"2026-11-22T10:00:00Z"}`,
	`"DateGreaterThanEquals":{"aws:TokenIssueTime":"2026-11-22T10:00:00Z"}`,
	`"StringEquals":{"aws:PrincipalTag/team":["a","b"]}`,
	`"StringNotEquals":{"aws:PrincipalTag/team":["a","b"]}`,
	`"StringNotEqualsIfExists":{"aws:PrincipalTag/team":"a"}`,
	`"StringLike":{"aws:PrincipalTag/team":"a*"}`,
	`"StringNotLike":{"aws:PrincipalTag/team":"a?"}`,
	`"StringEqualsIgnoreCase":{"aws:username":"DEPLOY-BOT"}`,
	`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ci/*"}`,
	`"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/StanchResponder"}`,
	`"ArnNotLikeIfExists":{"aws:PrincipalArn":"arn:aws:iam::111122223333:user/*"}`,
	`"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`,
	`"NotIpAddress":{"aws:SourceIp":["203.0.113.0/24","192.0.2.1/32"]}`,
	`"Bool":{"aws:SecureTransport":"true"}`,
	`"Bool":{"aws:MultiFactorAuthPresent":"false"}`,
	`"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}`,
	`"Null":{"aws:TokenIssueTime":"true"}`,
	`"Null":{"aws:PrincipalTag/team":"false"}`,
	`"Bool":{"aws:SecureTransport":"true"},"StringEquals":{"aws:username":"${aws:username}"}`,
}
