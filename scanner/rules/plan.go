package rules

import _ "embed" // of the plans

// The plans of [Extra] and of gitleaks' rules alone, for match.Open: what the
// rules come to, so that a process need not find out when it starts. Plans that
// are not of the rules are not used, which makes a start slow and nothing wrong.
//
//go:generate go test -run ^TestPlansAreOfTheRules$ -update .
var (
	//go:embed extra.plan
	ExtraPlan string
	//go:embed gitleaks.plan
	GitleaksPlan string
)
