package service

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"stanch/internal/store"
	"stanch/responder/incident"
	"stanch/responder/report"
)

// Summary is an incident in machine output.
type Summary struct {
	ID          string            `json:"id"`
	Provider    string            `json:"provider"`
	Kind        string            `json:"kind"`
	PublicID    string            `json:"public_id,omitempty"`
	Account     string            `json:"account,omitempty"`
	Title       string            `json:"title"`
	State       incident.State    `json:"state"`
	Severity    string            `json:"severity"`
	SeverityWhy string            `json:"severity_why"`
	Mode        incident.Mode     `json:"mode"`
	Verdict     string            `json:"verdict"`
	VerdictWhy  string            `json:"verdict_why,omitempty"`
	Class       string            `json:"class,omitempty"`
	Facts       map[string]string `json:"facts,omitempty"`
	Reference   string            `json:"reference"`
	ExposedAt   time.Time         `json:"exposed_at,omitzero"`
	ExposedFrom string            `json:"exposed_from"`
	OpenedAt    time.Time         `json:"opened_at,omitzero"`
	VerdictAt   time.Time         `json:"verdict_at,omitzero"`
	ContainedAt time.Time         `json:"contained_at,omitzero"`
	ProvedAt    time.Time         `json:"proved_at,omitzero"`
	Contained   bool              `json:"contained"`
	ProvedDead  bool              `json:"proved_dead"`
}

// Summarise gives an incident for machine output.
func Summarise(i incident.Incident) Summary {
	return Summary{
		ID: i.ID, Provider: i.Provider, Kind: i.Kind, PublicID: i.PublicID, Account: i.Account, Title: i.Title, State: i.State,
		Severity: i.Severity, SeverityWhy: i.SeverityWhy, Mode: i.Mode, Verdict: i.Verdict, VerdictWhy: i.VerdictWhy, Class: i.Class,
		Facts: i.Facts, Reference: i.Reference, ExposedAt: i.ExposedAt, ExposedFrom: i.ExposedFrom, OpenedAt: i.OpenedAt,
		VerdictAt: i.VerdictAt, ContainedAt: i.ContainedAt, ProvedAt: i.ProvedAt,
		Contained: !i.ContainedAt.IsZero(), ProvedDead: i.State == incident.StateProved,
	}
}

// Detail is an incident with everything that was done.
type Detail struct {
	Summary
	StateWhy  string                 `json:"state_why"`
	States    []incident.StateChange `json:"states"`
	Sightings []Place                `json:"sightings"`
	Actions   []Action               `json:"actions"`
	Retrying  []Retrying             `json:"retrying,omitempty"`
	Report    *ReportFiles           `json:"report,omitempty"`
}

// Retrying is a step that failed for now and is tried again.
type Retrying struct {
	Step     string `json:"step"`
	Attempts int    `json:"attempts"`
	Error    string `json:"error"`
}

// Place is a sighting in machine output.
type Place struct {
	Repository string              `json:"repository"`
	Visibility incident.Visibility `json:"visibility"`
	Ref        string              `json:"ref,omitempty"`
	Commit     string              `json:"commit,omitempty"`
	Path       string              `json:"path,omitempty"`
	Line       int                 `json:"line,omitempty"`
	Column     int                 `json:"column,omitempty"`
	Rule       string              `json:"rule,omitempty"`
	Author     string              `json:"author,omitempty"`
	Pusher     string              `json:"pusher,omitempty"`
	SeenAt     time.Time           `json:"seen_at,omitzero"`
}

// Action is an act in machine output.
type Action struct {
	Name       string             `json:"name"`
	State      string             `json:"state"`
	Actor      string             `json:"actor"`
	With       string             `json:"with"`
	Binding    string             `json:"binding"`
	Reversible bool               `json:"reversible"`
	Undoable   bool               `json:"undoable"`
	Collateral string             `json:"collateral,omitempty"`
	At         time.Time          `json:"at,omitzero"`
	Detail     string             `json:"detail,omitempty"`
	Requests   []incident.Request `json:"requests,omitempty"`
	UndoneAt   time.Time          `json:"undone_at,omitzero"`
	UndoneBy   string             `json:"undone_by,omitempty"`
}

// ReportFiles are the newest report's files.
type ReportFiles struct {
	Version  int    `json:"version"`
	Final    bool   `json:"final"`
	Markdown string `json:"markdown"`
	HTML     string `json:"html"`
	JSON     string `json:"json"`
}

// Incidents lists incidents, newest first.
func (s *Service) Incidents(ctx context.Context, f store.IncidentFilter) ([]incident.Incident, error) {
	var out []incident.Incident
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		out, err = tx.Incidents(ctx, f)
		return err
	})
	return out, err
}

// Detail reads one incident by its id or the beginning of it.
func (s *Service) Detail(ctx context.Context, id string) (Detail, error) {
	var d Detail
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		i, err := tx.FindIncident(ctx, id)
		if err != nil {
			return err
		}
		d.Summary = Summarise(i)
		d.States, err = tx.States(ctx, i.ID)
		if err != nil {
			return err
		}
		if len(d.States) > 0 {
			d.StateWhy = d.States[len(d.States)-1].Reason
		}
		sightings, err := tx.Sightings(ctx, i.ID)
		if err != nil {
			return err
		}
		d.Sightings = []Place{}
		for _, x := range sightings {
			d.Sightings = append(d.Sightings, Place{x.Repository, x.Visibility, x.Ref, x.Commit, x.Path, x.Line, x.Column, x.Rule, x.Author, x.Pusher, x.SeenAt})
		}
		acts, err := tx.Actions(ctx, i.ID)
		if err != nil {
			return err
		}
		d.Actions = []Action{}
		for _, a := range acts {
			d.Actions = append(d.Actions, Action{
				Name: a.Name, State: a.State, Actor: a.Actor, With: a.With, Binding: a.Binding, Reversible: a.Reversible,
				Undoable:   a.Undo != nil && a.UndoneAt.IsZero() && (a.State == "done" || a.State == "already"),
				Collateral: a.Collateral, At: a.At, Detail: a.Detail, Requests: a.Requests, UndoneAt: a.UndoneAt, UndoneBy: a.UndoneBy,
			})
		}
		steps, err := tx.Steps(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, x := range steps {
			if x.Round == i.Round && x.State == "running" && x.Error != "" {
				d.Retrying = append(d.Retrying, Retrying{x.Name, x.Attempts, x.Error})
			}
		}
		r, err := tx.Report(ctx, i.ID, 0)
		if err == nil {
			dir := s.ReportDir(i.ID)
			d.Report = &ReportFiles{r.Version, r.Final, filepath.Join(dir, "report.md"), filepath.Join(dir, "report.html"), filepath.Join(dir, "report.json")}
		}
		return ignoreNotFound(err)
	})
	return d, err
}

// Report gives a kept version of an incident's report, or, where none is kept
// yet and version is 0, the report as things stand.
func (s *Service) Report(ctx context.Context, id string, version int) (report.Report, error) {
	var r report.Report
	var row store.ReportRow
	var inc incident.Incident
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.FindIncident(ctx, id)
		if err != nil {
			return err
		}
		row, err = tx.Report(ctx, inc.ID, version)
		if version == 0 {
			return ignoreNotFound(err)
		}
		return err
	})
	if err != nil {
		return r, err
	}
	if row.Data == nil {
		return s.Engine.Report(ctx, inc.ID)
	}
	err = json.Unmarshal(row.Data, &r)
	if err != nil {
		return r, fmt.Errorf("read report: %w", err)
	}
	return r, nil
}

// Inert makes foreign text harmless in a terminal: control characters, escape
// sequences and characters that turn the direction of writing are shown as \u....
func Inert(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
