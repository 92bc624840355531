package trail

import (
	"slices"
	"strings"
	"time"

	"stanch/internal/lazyregexp"
)

// reactionWindow after one of our acts in which a change to IAM by the same
// principals counts as an attacker's reaction to it.
const reactionWindow = 10 * time.Second

// combine raises what single rows cannot see: several calls that together mean
// more. The reason is kept in Detail["combination"].
func combine(events []Event, c Context) {
	order := make([]int, 0, len(events))
	for i := range events {
		e := &events[i]
		delete(e.Detail, "combination")
		if e.Origin != OriginOurs && e.Origin != OriginProvider {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return events[a].Time.Compare(events[b].Time) })
	byActor := map[string][]int{}
	for _, i := range order {
		byActor[events[i].Credential] = append(byActor[events[i].Credential], i)
	}
	for _, list := range byActor {
		combineOne(events, list)
	}
	raiseReactions(events, order, c)
	markStolenInstanceSessions(events, order)
}

// combineOne looks at the events of one credential, oldest first.
func combineOne(events []Event, list []int) {
	var listed, models, mail time.Time
	var secretReads, mining []int
	regions := map[string]bool{}
	for _, i := range list {
		e := &events[i]
		switch BareOperation(e.Operation) {
		case "ListSecrets":
			listed = e.Time
		case "GetSecretValue":
			secretReads = append(secretReads, i)
		case "ListFoundationModels", "GetFoundationModelAvailability", "ListFoundationModelAgreementOffers":
			models = e.Time
		case "InvokeModel", "InvokeModelWithResponseStream", "Converse", "ConverseStream":
			if !models.IsZero() && e.Time.Sub(models) <= 15*time.Minute {
				raise(e, SeverityCritical, "models were listed, then invoked: LLM abuse")
			}
		case "GetSendQuota", "GetAccountSendingEnabled":
			mail = e.Time
		case "CreateEmailIdentity", "VerifyEmailIdentity", "VerifyDomainIdentity":
			if !mail.IsZero() {
				raise(e, SeverityCritical, "sending quota was read, then a sender was made: phishing")
			}
		case "RunInstances", "RequestSpotInstances", "CreateFleet":
			mining = append(mining, i)
			regions[e.Region] = true
			if acceleratedInstance().MatchString(e.Detail["instance_type"]) {
				raise(e, SeverityCritical, "accelerated instances: mining or model training")
			}
		}
	}
	if !listed.IsZero() && len(secretReads) >= 3 {
		for _, i := range secretReads {
			if !events[i].Time.Before(listed) {
				raise(&events[i], SeverityCritical, "secrets were listed, then read one after the other")
			}
		}
	}
	if len(regions) >= 3 {
		for _, i := range mining {
			raise(&events[i], SeverityCritical, "instances in three Regions or more: mining")
		}
	}
}

// acceleratedInstance matches GPU and accelerator families.
var acceleratedInstance = lazyregexp.New(`^(p\d|g\d|trn\d|inf\d|dl\d|vt\d)`)

// raiseReactions marks writes that follow our containment within seconds.
func raiseReactions(events []Event, order []int, c Context) {
	if c.ContainedAt.IsZero() {
		return
	}
	for _, i := range order {
		e := &events[i]
		d := e.Time.Sub(c.ContainedAt)
		if d < 0 || d > reactionWindow || e.ReadOnly || severityRank(e.Severity) < severityRank(SeverityHigh) {
			continue
		}
		if e.Service == "iam.amazonaws.com" || e.Service == "sts.amazonaws.com" {
			raise(e, SeverityCritical, "within seconds of our containment: reacting attacker")
		}
	}
}

var instanceSession = lazyregexp.New(`:assumed-role/[^/]+/i-[0-9A-Za-z]+$`)

// markStolenInstanceSessions finds credentials of an instance's role that are
// used from the address of another principal: they were taken off the instance.
func markStolenInstanceSessions(events []Event, order []int) {
	users := map[string]bool{} // addresses of principals that are no instance
	for _, i := range order {
		e := events[i]
		if !instanceSession().MatchString(e.Actor) && !isServiceAddress(e.Address) && e.Address != "" {
			users[e.Address] = true
		}
	}
	for _, i := range order {
		e := &events[i]
		if users[e.Address] && instanceSession().MatchString(e.Actor) {
			raise(e, SeverityHigh, "session of an instance's role, used from the address of another principal")
			e.Technique = addUnique(e.Technique, "T1552.005")
			e.Tactic = addUnique(e.Tactic, "credential-access")
		}
	}
}

func raise(e *Event, severity, why string) {
	if severityRank(e.Severity) < severityRank(severity) {
		e.Severity = severity
	}
	if e.Detail == nil {
		e.Detail = map[string]string{}
	}
	if old := e.Detail["combination"]; old != "" && !strings.Contains(old, why) {
		why = old + "; " + why
	}
	e.Detail["combination"] = why
}
