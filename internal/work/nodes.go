package work

import (
	"context"
	"time"

	"stanch/internal/store"
)

// Several processes may work on one PostgreSQL. River gives a job that a dead
// process left running to another one only after [longest], far too late for a
// credential that is half contained. So every process counts beats in
// work_nodes; one whose count stands still for deadAfter is dead to those who
// watch it, and its running jobs become available at once. Clocks of other hosts
// are never compared. A process that lives but cannot reach the database for that
// long loses its jobs too: steps look before they act again, so this is safe.
const (
	beatEvery = time.Second
	deadAfter = 5 * time.Second
)

// seen is a count of another process and since when we have seen it.
type seen struct {
	beat  int64
	since time.Time
}

// keepAlive beats and watches until ctx ends.
func (e *Engine) keepAlive(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	others := map[string]seen{}
	for {
		err := e.beat(ctx)
		if err == nil {
			err = e.watch(ctx, others, time.Now())
		}
		if err != nil {
			clear(others) // what could not be asked says nothing about the others
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (e *Engine) beat(ctx context.Context) error {
	return e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO work_nodes (id, beat) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET beat = work_nodes.beat + 1", e.node)
		return err
	})
}

// leave says that this process ends in order: nothing is to be taken over.
func (e *Engine) leave(ctx context.Context) error {
	return e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM work_nodes WHERE id = $1", e.node)
		return err
	})
}

// lastOwner is the process that a job was last given to.
const lastOwner = "attempted_by[array_length(attempted_by, 1)]"

// watch compares every other process with what was seen before.
func (e *Engine) watch(ctx context.Context, others map[string]seen, now time.Time) error {
	current := map[string]int64{}
	err := e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT id, beat FROM work_nodes WHERE id <> $1
 UNION ALL SELECT DISTINCT j.owner, -1 FROM (SELECT `+lastOwner+` AS owner FROM river_job WHERE state = 'running') j
 WHERE j.owner IS NOT NULL AND j.owner <> $1 AND NOT EXISTS (SELECT 1 FROM work_nodes n WHERE n.id = j.owner)`, e.node)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			var beat int64
			err := rows.Scan(&id, &beat)
			if err != nil {
				return err
			}
			current[id] = beat
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	for id := range others {
		_, ok := current[id]
		if !ok {
			delete(others, id)
		}
	}
	for id, beat := range current {
		last, known := others[id]
		switch {
		case !known || last.beat != beat:
			others[id] = seen{beat, now}
		case now.Sub(last.since) >= deadAfter:
			err := e.takeOver(ctx, id, beat)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// takeOver makes the running jobs of a dead process available, unless it beat
// again meanwhile, and gives up the leadership that it may have had.
func (e *Engine) takeOver(ctx context.Context, id string, beat int64) error {
	return e.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM work_nodes WHERE id = $1 AND beat = $2", id, beat)
		if err != nil || n == 0 && beat >= 0 {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE river_job SET state = 'available' WHERE state = 'running' AND "+lastOwner+" = $1", id)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM river_leader WHERE leader_id = $1", id)
		return err
	})
}
