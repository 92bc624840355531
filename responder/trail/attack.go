package trail

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"stanch/internal/lazyregexp"
)

// attackJSON maps event names to ATT&CK techniques and severities. It is data,
// so that a new row needs no code; its own "about" says where the rows come from.
//
//go:embed attack.json
var attackJSON []byte

// Technique is one ATT&CK technique as of v18, with its successor in v19, which
// split the tactic Defense Evasion.
type Technique struct {
	ID         string   `json:"id"`
	Name       string   `json:"name"`
	Tactics    []string `json:"tactics"`
	V19        string   `json:"v19,omitempty"` // the id that replaced it; "" when it stayed
	V19Tactics []string `json:"v19_tactics,omitempty"`
}

type attackRow struct {
	Row        int               `json:"row"`
	Events     []string          `json:"events"` // "service:EventName"
	When       map[string]string `json:"when"`   // event -> condition; the row counts only when it holds
	Techniques []string          `json:"techniques"`
	Severity   string            `json:"severity"`
	Tactics    []string          `json:"tactics"` // beyond those of the techniques
}

type attackTable struct {
	techniques map[string]Technique
	rows       []attackRow
	byEvent    map[string][]int // "service:EventName" -> indexes of rows, those with a condition first
}

var attack = sync.OnceValue(func() *attackTable {
	t, err := parseAttack(attackJSON)
	if err != nil {
		panic("embedded attack.json: " + err.Error()) // a build that cannot work; held by a test
	}
	return t
})

func parseAttack(data []byte) (*attackTable, error) {
	var file struct {
		Techniques map[string]Technique `json:"techniques"`
		Rows       []attackRow          `json:"rows"`
	}
	err := json.Unmarshal(data, &file)
	if err != nil {
		return nil, fmt.Errorf("parse ATT&CK table: %w", err)
	}
	t := &attackTable{techniques: map[string]Technique{}, rows: file.Rows, byEvent: map[string][]int{}}
	for id, q := range file.Techniques {
		q.ID = id
		t.techniques[id] = q
	}
	for i, r := range file.Rows {
		if severityRank(r.Severity) < 0 {
			return nil, fmt.Errorf("row %d: severity %q is none of L, M, H, C", r.Row, r.Severity)
		}
		for _, id := range r.Techniques {
			if _, ok := t.techniques[id]; !ok {
				return nil, fmt.Errorf("row %d: technique %q is not described", r.Row, id)
			}
		}
		for event, cond := range r.When {
			if conditions[cond] == nil {
				return nil, fmt.Errorf("row %d: condition %q is unknown", r.Row, cond)
			}
			if !slices.Contains(r.Events, event) {
				return nil, fmt.Errorf("row %d: condition on %q, which is not among its events", r.Row, event)
			}
		}
		for _, e := range r.Events {
			t.byEvent[e] = append(t.byEvent[e], i)
		}
	}
	for e, rows := range t.byEvent {
		slices.SortStableFunc(rows, func(a, b int) int {
			return btoi(t.rows[a].When[e] == "") - btoi(t.rows[b].When[e] == "")
		})
	}
	return t, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// conditions of rows, judged on the allow-listed detail of an event.
var conditions = map[string]func(Event) bool{
	"user_data":     func(e Event) bool { return e.Detail["attribute"] == "userData" || e.Detail["user_data"] != "" },
	"other_account": func(e Event) bool { return roleAccount(e) != "" && roleAccount(e) != e.Detail["account"] },
	"to_active":     func(e Event) bool { return strings.EqualFold(e.Detail["status"], "Active") },
	"foreign_key": func(e Event) bool {
		key := accountOfARN(e.Detail["kms_key"])
		return e.Detail["encryption"] == "sse-c" || key != "" && key != e.Detail["account"]
	},
	"public":          func(e Event) bool { return e.Detail["public"] == "true" },
	"suspended":       func(e Event) bool { return strings.EqualFold(e.Detail["versioning"], "Suspended") },
	"master_password": func(e Event) bool { return e.Detail["master_password"] != "" },
	"logging_off":     func(e Event) bool { return e.Detail["logging"] == "off" },
}

func roleAccount(e Event) string { return accountOfARN(e.Detail["role_arn"]) }

// accountOfARN gives the account field of an ARN, or "".
func accountOfARN(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) < 6 || f[0] != "arn" {
		return ""
	}
	return f[4]
}

var lambdaVersion = lazyregexp.New(`\d{8}(v\d+)?$`)

// BareOperation strips the API version that some services append to their
// event names (UpdateFunctionCode20150331v2).
func BareOperation(name string) string {
	bare := lambdaVersion().ReplaceAllString(name, "")
	if bare == "" {
		return name
	}
	return bare
}

func (t *attackTable) match(e Event) (attackRow, bool) {
	key := strings.TrimSuffix(e.Service, ".amazonaws.com") + ":" + BareOperation(e.Operation)
	for _, i := range t.byEvent[key] {
		cond := t.rows[i].When[key]
		if cond == "" || conditions[cond](e) {
			return t.rows[i], true
		}
	}
	return attackRow{}, false
}

// label fills in severity, techniques and tactics from the table.
func (t *attackTable) label(e *Event) {
	e.Technique, e.Tactic, e.Severity = nil, nil, SeverityLow
	row, ok := t.match(*e)
	if !ok {
		return
	}
	e.Severity = row.Severity
	e.Technique = slices.Clone(row.Techniques)
	for _, id := range row.Techniques {
		e.Tactic = addUnique(e.Tactic, t.techniques[id].Tactics...)
	}
	e.Tactic = addUnique(e.Tactic, row.Tactics...)
}

// FindTechnique returns what is known of an ATT&CK v18 technique id.
func FindTechnique(id string) (Technique, bool) {
	q, ok := attack().techniques[id]
	return q, ok
}

// The severities of an event: by a leaked key after its exposure.
const (
	SeverityLow      = "L" // context
	SeverityMedium   = "M" // report
	SeverityHigh     = "H" // page
	SeverityCritical = "C" // contain further and page
)

func severityRank(s string) int {
	if len(s) != 1 {
		return -1
	}
	return strings.Index("LMHC", s)
}

func addUnique(list []string, more ...string) []string {
	for _, m := range more {
		if m != "" && !slices.Contains(list, m) {
			list = append(list, m)
		}
	}
	return list
}
