package service_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stanch/internal/config"
	"stanch/internal/store"
	"stanch/responder/incident"
)

// sweptRow is what the database says of the scans of one repository by sweeps.
type sweptRow struct {
	scans, commits, blobs int
	last                  int64
}

func (w *world) swept(repository string) (r sweptRow) {
	w.t.Helper()
	err := w.svc.DB.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return tx.QueryRow(ctx, "SELECT count(*), coalesce(sum(commits), 0), coalesce(sum(blobs), 0), coalesce(max(done_at), 0) FROM scans WHERE kind = 'sweep' AND repository = $1",
			repository).Scan(&r.scans, &r.commits, &r.blobs, &r.last)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// installed waits until the service knows of the installation.
func (w *world) installed() {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := 0; n == 0; {
		err := w.svc.DB.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT count(*) FROM installations").Scan(&n)
		})
		if err != nil || time.Now().After(deadline) {
			w.t.Fatal("the installation is not known", err)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the service runs in real time
	}
}

// TestScheduledSweep: what was pushed while nobody listened is found by the
// service's own sweep, once for all repositories that hold it; the next sweep looks
// at what changed alone, and one that was interrupted looks at nothing twice.
func TestScheduledSweep(t *testing.T) {
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{dsn: dsn})
			w.installed()
			w.quiet()
			w.shutdown()
			dir := w.leakKey()
			copied, err := w.gh.CreateRepo("acme", "copy", false)
			if err != nil {
				t.Fatal(err)
			}
			url := strings.Replace(copied.CloneURL, "http://", "http://"+w.dev.Login+":"+w.dev.Password+"@", 1)
			w.git(dir, "push", "--quiet", url, "main")

			w.cfg.Scan.SweepEvery = config.Duration(time.Hour)
			w.start()
			w.until("the incident of the sweep", func(is []incident.Incident) bool { return len(is) > 0 })
			w.quiet()
			is, err := w.svc.Incidents(context.Background(), store.IncidentFilter{})
			if err != nil || len(is) != 1 || !strings.HasPrefix(is[0].Reference, "sweep-") {
				t.Fatalf("%+v, %v", is, err)
			}
			places := map[string]bool{}
			for _, p := range w.detail(is[0].ID).Sightings {
				places[p.Repository] = true
			}
			if !places["acme/shop"] || !places["acme/copy"] {
				t.Errorf("seen in %v, want both repositories", places)
			}
			a, b := w.swept("acme/shop"), w.swept("acme/copy")
			if a.scans != 1 || b.scans != 1 || a.commits+b.commits != 2 || a.blobs+b.blobs != 1 {
				t.Errorf("scans %+v and %+v, want one each, and of the blob one in both", a, b)
			}

			// The listing runs again, as after a crash: nothing is looked at twice.
			err = w.svc.DB.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
				n, err := tx.Exec(ctx, "UPDATE river_job SET state = 'available', finalized_at = NULL WHERE kind = 'sweep'")
				if n != 1 {
					err = errors.Join(err, errors.New("the job of the sweep is not there"))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			w.quiet()
			if again := w.swept("acme/shop"); again != a {
				t.Errorf("after the listing ran again: %+v, before %+v", again, a)
			}

			// The service starts again: no sweep is due.
			w.shutdown()
			served := strings.Count(w.log.String(), `"msg":"serving"`)
			w.start()
			w.until("the service", func([]incident.Incident) bool { return strings.Count(w.log.String(), `"msg":"serving"`) > served })
			w.quiet()
			if again := w.swept("acme/shop"); again != a {
				t.Errorf("a sweep that is not due: %+v, before %+v", again, a)
			}

			// One is due; nothing changed.
			states := len(w.detail(is[0].ID).States)
			w.shutdown()
			w.cfg.Scan.SweepEvery = 1
			time.Sleep(time.Second) //nolint:forbidigo // sweeps are named by the second
			w.start()
			deadline := time.Now().Add(time.Minute)
			for w.swept("acme/copy").scans < 2 || w.swept("acme/shop").scans < 2 {
				if time.Now().After(deadline) {
					t.Fatalf("the second sweep did not come\n%s", w.log.String())
				}
				time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the service runs in real time
			}
			w.quiet()
			if again := w.swept("acme/shop"); again.scans != 2 || again.commits != a.commits || again.last <= a.last {
				t.Errorf("the second sweep: %+v, the first %+v", again, a)
			}
			if n := len(w.detail(is[0].ID).States); n != states {
				t.Errorf("the second sweep changed the incident: %d states, then %d", states, n)
			}
		})
	}
}
