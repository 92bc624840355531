package service

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/store"
	"stanch/internal/work"
)

// deliveryArgs names a delivery to be handled.
type deliveryArgs struct {
	GUID string `json:"guid"`
}

func (deliveryArgs) Kind() string { return "delivery" }

// historyArgs asks for the whole history of a repository to be scanned.
type historyArgs struct {
	Installation int64  `json:"installation"`
	Owner        string `json:"owner"`
	Name         string `json:"name"`
	Reference    string `json:"reference"` // delivery id, or the sweep
	Reason       string `json:"reason"`    // public or sweep

	// Of a sweep:
	Repository int64     `json:"repository,omitempty"` // its id, which survives a change of name
	Changed    time.Time `json:"changed,omitzero"`     // when something was pushed last
}

func (a historyArgs) name() string { return a.Owner + "/" + a.Name }

func (historyArgs) Kind() string { return "history" }

// Accept implements [githubapp.Intake]: the delivery row and its job are one
// transaction; a delivery whose id or body is known changes nothing. The payload
// waits sealed: a branch can be named like a secret, and nothing was scanned yet.
func (s *Service) Accept(ctx context.Context, d githubapp.Delivery) (bool, error) {
	isNew := false
	payload, err := json.Marshal(waiting{s.box.Seal(d.GUID, d.Payload)})
	if err != nil {
		return false, err
	}
	err = s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		isNew, err = tx.InsertDelivery(ctx, store.Delivery{
			GUID: d.GUID, Event: d.Event, Action: d.Action, BodySHA256: d.BodySHA256, Installation: d.Installation,
			Repository: repositoryOf(d.Normal), SourceIP: d.SourceIP, Payload: payload, ReceivedAt: d.ReceivedAt,
		})
		if err != nil || !isNew {
			return err
		}
		return s.Jobs.Enqueue(ctx, tx, deliveryArgs{d.GUID}, work.Options{})
	})
	return isNew && err == nil, err
}

// waiting is a payload as it is stored until the delivery is done.
type waiting struct {
	Sealed []byte `json:"sealed"`
}

// restore opens the payload of a delivery that waits.
func (s *Service) restore(d store.Delivery) (githubapp.Event, error) {
	var w waiting
	err := json.Unmarshal(d.Payload, &w)
	if err != nil {
		return nil, fmt.Errorf("restore delivery: %w", err)
	}
	plain, err := s.box.Open(d.GUID, w.Sealed)
	if err != nil {
		return nil, fmt.Errorf("restore delivery: %w", err)
	}
	return githubapp.Restore(d.Event, plain)
}

func repositoryOf(e githubapp.Event) string {
	switch e := e.(type) {
	case *githubapp.Push:
		return e.Repository.FullName
	case *githubapp.Public:
		return e.Repository.FullName
	case *githubapp.SecretScanningAlert:
		return e.Repository.FullName
	}
	return ""
}
