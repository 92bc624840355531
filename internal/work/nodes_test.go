package work_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/internal/work"
)

// TestTakeOver: jobs that a dead process left running on a shared database run
// again within seconds; those of a process that still beats are left alone.
func TestTakeOver(t *testing.T) {
	if os.Getenv("STANCH_TEST_POSTGRES") == "" {
		t.Skip("STANCH_TEST_POSTGRES is not set; on SQLite one process works alone")
	}
	db := storetest.Open(t, storetest.Postgres(t))
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	ran := make(chan string, 10)
	engine, err := work.New(ctx, db, work.Config{Logger: slog.New(slog.DiscardHandler)}, func(r *work.Registry) {
		work.Handle(r, work.Spec{Queue: work.QueueRespond, Timeout: 5 * time.Second}, func(ctx context.Context, j work.Job[noteArgs]) error {
			err := db.Tx(ctx, j.Complete)
			ran <- j.Args.ID
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, owner := range []string{"dead", "alive", "forgotten"} {
			err := engine.Enqueue(ctx, tx, noteArgs{owner}, work.Options{})
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE river_job SET state = 'running', attempt = 1, attempted_at = now(), attempted_by = ARRAY['gone', $1] WHERE args->>'id' = $1", owner)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "INSERT INTO work_nodes (id, beat) VALUES ('dead', 7), ('alive', 7)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = engine.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	beats := time.NewTicker(500 * time.Millisecond)
	defer beats.Stop()
	end := time.After(20 * time.Second)
	for after := (<-chan time.Time)(nil); ; {
		select {
		case id := <-ran:
			got[id] = true
			if len(got) == 2 && after == nil {
				after = time.After(2 * time.Second)
			}
			continue
		case <-beats.C:
			err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE work_nodes SET beat = beat + 1 WHERE id = 'alive'")
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			continue
		case <-after:
		case <-end:
		}
		break
	}
	if !got["dead"] || !got["forgotten"] || got["alive"] {
		t.Errorf("ran again: %v, want the jobs of dead and forgotten alone", got)
	}
	err = engine.Stop(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var n int
		err := tx.QueryRow(ctx, "SELECT count(*) FROM work_nodes").Scan(&n)
		if n != 1 {
			t.Errorf("%d processes are left, want the living one", n)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
