package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"stanch/internal/secret"
)

// Bounds of an entry. The tlog-tiles layout holds at most 65,535 bytes a leaf.
const (
	maxName   = 256  // bytes of kind, actor, subject and outcome
	maxKey    = 64   // bytes of a detail's name
	maxValue  = 1024 // bytes of a detail's value
	maxDetail = 48   // details
	maxLeaf   = 65535
)

// ocsfVersion is the schema that the fields follow.
const ocsfVersion = "1.8.0"

// Entry is one thing that was decided or done. It holds no secret.
type Entry struct {
	// Time is when it happened; zero means now.
	Time time.Time
	// Kind says what happened, "group.what": incident.opened, verdict.reached,
	// act.done, approval.granted, call.made, login.failed, scan.done, service.started.
	// The group chooses the OCSF class.
	Kind string
	// Incident is the id of the incident, "" outside one.
	Incident string
	// Actor is who did it: "stanch" or a person.
	Actor string
	// Subject is what it was done to: an action, a public key id, a repository.
	Subject string
	// Outcome is how it went: "success", "failure", or a word of the caller's.
	Outcome string
	// Detail holds few short values for people and for search.
	Detail map[string]string
}

// leaf is an entry as it is hashed: the OCSF base event, the attributes that its
// class requires, and our own nouns under unmapped. The order of the fields is
// the order of the bytes.
type leaf struct {
	ActivityID    int          `json:"activity_id"`
	CategoryUID   int          `json:"category_uid"`
	ClassUID      int          `json:"class_uid"`
	TypeUID       int          `json:"type_uid"`
	SeverityID    int          `json:"severity_id"`
	StatusID      int          `json:"status_id"`
	Time          int64        `json:"time"` // milliseconds
	Message       string       `json:"message"`
	Metadata      leafMetadata `json:"metadata"`
	Actor         *leafActor   `json:"actor,omitempty"`
	User          *leafUser    `json:"user,omitempty"`
	App           *leafProduct `json:"app,omitempty"`
	API           *leafAPI     `json:"api,omitempty"`
	SrcEndpoint   *leafName    `json:"src_endpoint,omitempty"`
	Service       *leafName    `json:"service,omitempty"`
	Privileges    []string     `json:"privileges,omitempty"`
	FindingInfo   *leafUID     `json:"finding_info,omitempty"`
	FindingInfos  []leafUID    `json:"finding_info_list,omitempty"`
	AssigneeGroup *leafName    `json:"assignee_group,omitempty"`
	CommandUID    string       `json:"command_uid,omitempty"`
	Scan          *leafScan    `json:"scan,omitempty"`
	Unmapped      leafUnmapped `json:"unmapped"`
}

type leafMetadata struct {
	Version  string      `json:"version"`
	Product  leafProduct `json:"product"`
	Sequence int64       `json:"sequence"` // the index of the leaf
}

type leafProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
}

type leafActor struct {
	User leafUser `json:"user"`
}

type leafUser struct {
	Name string `json:"name"`
}

type leafName struct {
	Name string `json:"name"`
}

type leafUID struct {
	UID string `json:"uid"`
}

type leafAPI struct {
	Operation string `json:"operation"`
}

type leafScan struct {
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
}

type leafUnmapped struct {
	At       string            `json:"at"` // RFC 3339, microseconds, UTC
	Kind     string            `json:"kind"`
	Incident string            `json:"incident,omitempty"`
	Actor    string            `json:"actor,omitempty"`
	Subject  string            `json:"subject,omitempty"`
	Outcome  string            `json:"outcome,omitempty"`
	Detail   map[string]string `json:"detail,omitempty"`
}

var product = leafProduct{Name: "Stanch", VendorName: "Stanch"}

// microseconds is RFC 3339 in UTC with six decimals.
const microseconds = "2006-01-02T15:04:05.000000Z"

// encode gives the exact bytes of the leaf at index n.
func (e Entry) encode(n int64) ([]byte, error) {
	if e.Kind == "" {
		return nil, errors.New("entry has no kind")
	}
	if len(e.Detail) > maxDetail {
		return nil, fmt.Errorf("entry has %d details, more than %d", len(e.Detail), maxDetail)
	}
	at := e.Time.UTC().Truncate(time.Microsecond)
	u := leafUnmapped{
		At:       at.Format(microseconds),
		Kind:     secret.Inert(e.Kind, maxName),
		Incident: secret.Inert(e.Incident, maxName),
		Actor:    secret.Inert(e.Actor, maxName),
		Subject:  secret.Inert(e.Subject, maxName),
		Outcome:  secret.Inert(e.Outcome, maxName),
	}
	for k, v := range e.Detail {
		if u.Detail == nil {
			u.Detail = make(map[string]string, len(e.Detail))
		}
		u.Detail[secret.Inert(k, maxKey)] = secret.Inert(v, maxValue)
	}
	l := leaf{
		SeverityID: 1, StatusID: status(e.Outcome), Time: at.UnixMilli(), Message: u.Kind,
		Metadata: leafMetadata{Version: ocsfVersion, Product: product, Sequence: n},
		Unmapped: u,
	}
	if u.Actor != "" {
		l.Actor = &leafActor{leafUser{u.Actor}}
	}
	l.classify(u)

	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(l)
	if err != nil {
		return nil, fmt.Errorf("encode entry: %w", err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(data) > maxLeaf {
		return nil, fmt.Errorf("entry has %d bytes, more than %d", len(data), maxLeaf)
	}
	return data, nil
}

// classify sets the OCSF 1.8.0 class and the attributes that it requires, from
// the group of the kind ("act" in "act.done").
func (l *leaf) classify(u leafUnmapped) {
	group, what, _ := strings.Cut(u.Kind, ".")
	switch group {
	case "finding", "verdict":
		l.class(2, 2004, pick(what, "opened", 1, "closed", 3, 2))
		l.FindingInfo = &leafUID{u.Incident}
	case "incident", "state", "step", "report":
		l.class(2, 2005, pick(what, "opened", 1, "closed", 3, 2))
		l.FindingInfos = []leafUID{{u.Incident}}
		l.AssigneeGroup = &leafName{"stanch"}
	case "act", "undo", "hold":
		l.class(7, 7001, 99)
		l.CommandUID = u.Incident + "/" + u.Subject
	case "call":
		l.class(6, 6003, 99)
		l.API = &leafAPI{u.Subject}
		l.SrcEndpoint = &leafName{"stanch"}
		if l.Actor == nil {
			l.Actor = &leafActor{leafUser{"stanch"}}
		}
	case "login", "webhook":
		l.class(3, 3002, pick(what, "succeeded", 1, "failed", 1, 99))
		l.User = &leafUser{u.Actor}
		l.Service = &leafName{"stanch"}
	case "approval", "access":
		l.class(3, 3003, 99)
		l.User = &leafUser{u.Actor}
		l.Privileges = []string{u.Subject}
	case "scan", "sweep":
		l.class(6, 6007, pick(what, "started", 1, "done", 2, 99))
		l.Scan = &leafScan{u.Subject, 99}
	default:
		l.class(6, 6002, pick(what, "started", 3, "stopped", 4, 99))
		p := product
		l.App = &p
	}
}

func (l *leaf) class(category, class, activity int) {
	l.CategoryUID, l.ClassUID, l.ActivityID, l.TypeUID = category, class, activity, class*100+activity
}

// pick gives a for the word wa, b for wb and otherwise for anything else.
func pick(what, wa string, a int, wb string, b, otherwise int) int {
	switch what {
	case wa:
		return a
	case wb:
		return b
	default:
		return otherwise
	}
}

// status is the OCSF status_id: 1 success, 2 failure, 99 other, 0 unknown.
func status(outcome string) int {
	switch outcome {
	case "":
		return 0
	case "success", "done", "ok", "already":
		return 1
	case "failure", "failed", "error", "refused":
		return 2
	default:
		return 99
	}
}
