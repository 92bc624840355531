package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	labgithub "stanch/internal/lab/github"
	"stanch/internal/store"
)

// Responses is how leaks of real pushes ended. The clocks of the first three
// start when the webhook was received; those of Push* when `git push` began.
type Responses struct {
	Rate    float64 `json:"rate"`
	Seconds float64 `json:"seconds"`
	Pushes  int     `json:"pushes"` // that succeeded, each with one leaked credential
	Late    Spread  `json:"late"`   // how long after it was due a push began
	GitPush Spread  `json:"git_push"`

	Verdict   Spread `json:"verdict"`
	Contained Spread `json:"contained"`
	Proved    Spread `json:"contained_to_proved"`
	Report    Spread `json:"contained_to_report"` // the first version that people can read

	PushVerdict   Spread `json:"push_to_verdict"`
	PushContained Spread `json:"push_to_contained"`

	ByProvider map[string]Split `json:"by_provider"`

	ContainedCount int     `json:"contained_count"`
	ProvedCount    int     `json:"proved_count"`
	HeldCount      int     `json:"held_count"` // holds that ended
	Holds          int     `json:"holds"`
	SettleMS       float64 `json:"settle_ms"` // from the last push to the last proof and hold
	Usage          Usage   `json:"service"`
}

// Split is the responses of one provider.
type Split struct {
	Verdict   Spread `json:"verdict"`
	Contained Spread `json:"contained"`
	Proved    Spread `json:"contained_to_proved"`
}

// leak is one credential and when it was pushed.
type leak struct {
	text   string
	aws    bool
	commit string
	begun  time.Time
}

func runResponses(ctx context.Context, o Options) (Responses, error) {
	r := Responses{Rate: o.Rate, ByProvider: map[string]Split{}}
	dir, err := o.phaseDir("responses")
	if err != nil {
		return r, err
	}
	w, err := newWorld(o, dir)
	if err != nil {
		return r, err
	}
	defer w.close()
	total := int(o.Rate * o.Duration.Seconds())
	o.Tell("responses: preparing %d leaks in %d repositories", total, o.Repos)
	leaks, err := w.leaks(total, o.AWSShare)
	if err != nil {
		return r, err
	}
	repos, err := w.repos(ctx, o.Repos, leaks)
	if err != nil {
		return r, err
	}
	cfg, err := w.config()
	if err != nil {
		return r, err
	}
	c, err := startChild(ctx, o, dir, cfg)
	if err != nil {
		return r, err
	}
	w.gh.SetWebhook(w.app.ID, c.hook)
	_, err = w.gh.Install(w.app.ID, "acme")
	if err != nil {
		return r, errors.Join(err, c.stop())
	}
	time.Sleep(time.Second) // the installation's own event
	o.Tell("responses: pushing %.3g a second for %s", o.Rate, o.Duration)
	start := time.Now()
	err = r.pushAll(ctx, w, o, repos, leaks)
	pushed := time.Now()
	r.Seconds = pushed.Sub(start).Seconds()
	if err != nil {
		return r, errors.Join(err, c.stop())
	}
	err = r.settle(ctx, o, c)
	r.SettleMS = ms(time.Since(pushed))
	if err == nil {
		err = r.measure(ctx, c, leaks)
	}
	u, uerr := c.usage()
	r.Usage = u
	r.Usage.Seconds = time.Since(start).Seconds()
	return r, errors.Join(err, uerr, c.stop())
}

// leaks makes the credentials and the files that leak them.
func (w *world) leaks(n int, share float64) ([]*leak, error) {
	out := make([]*leak, n)
	keys := 0
	for i := range out {
		l := &leak{aws: float64(keys) < share*float64(i+1)}
		if l.aws {
			keys++
			key, err := w.aws.AddUser(fmt.Sprintf("ci-%04d", i), "/ci/", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","ec2:*","sts:*"],"Resource":"*"}]}`)
			if err != nil {
				return nil, err
			}
			l.text = "AWS_ACCESS_KEY_ID=" + key.ID + "\nAWS_SECRET_ACCESS_KEY=" + key.Secret.Reveal() + "\nAWS_REGION=eu-west-1\n"
		} else {
			token, err := w.token(i - keys)
			if err != nil {
				return nil, err
			}
			l.text = "MIRROR=https://mirror.acme.example\nGITHUB_TOKEN=" + token + "\n"
		}
		out[i] = l
	}
	return out, nil
}

// token makes token n; a user has a hundred, so that GitHub's limit of calls a
// user is not what is measured.
func (w *world) token(n int) (string, error) {
	login := fmt.Sprintf("dev-%02d", n/100)
	if n%100 == 0 {
		_, err := w.gh.CreateUser(login)
		if err != nil {
			return "", err
		}
		w.owners = append(w.owners, login)
	}
	return w.gh.CreateToken(login, labgithub.KindClassic, "repo", "read:org")
}

// repos deals the leaks out: leak i goes to repository i mod n.
func (w *world) repos(ctx context.Context, n int, leaks []*leak) ([]*repo, error) {
	n = min(n, max(1, len(leaks)))
	out := make([]*repo, n)
	for k := range n {
		var texts []string
		for i := k; i < len(leaks); i += n {
			texts = append(texts, leaks[i].text)
		}
		r, err := w.newRepo(ctx, k, texts)
		if err != nil {
			return nil, err
		}
		for j := range texts {
			leaks[k+j*n].commit = r.commits[j+1]
		}
		out[k] = r
	}
	return out, nil
}

// pushAll pushes at the rate; pushes to one repository follow each other.
func (r *Responses) pushAll(ctx context.Context, w *world, o Options, repos []*repo, leaks []*leak) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var late, took []time.Duration
	var failed error
	start := time.Now()
	for k, repo := range repos {
		wg.Go(func() {
			for i, j := k, 1; i < len(leaks) && ctx.Err() == nil; i, j = i+len(repos), j+1 {
				due := start.Add(time.Duration(float64(i) / o.Rate * float64(time.Second)))
				time.Sleep(time.Until(due))
				leaks[i].begun = time.Now()
				err := repo.push(ctx, w, j)
				mu.Lock()
				late, took = append(late, leaks[i].begun.Sub(due)), append(took, time.Since(leaks[i].begun))
				if err != nil {
					failed = errors.Join(failed, err)
				} else {
					r.Pushes++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.Late, r.GitPush = spread(late), spread(took)
	return failed
}

// settle waits until every leak is proved dead and every hold ended, or time is up.
func (r *Responses) settle(ctx context.Context, o Options, c *child) error {
	db, err := c.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for end := time.Now().Add(o.Settle); ; {
		var proved, holds, held int
		err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			err := tx.QueryRow(ctx, "SELECT count(*) FROM incidents WHERE proved_at > 0").Scan(&proved)
			if err != nil {
				return err
			}
			err = tx.QueryRow(ctx, "SELECT count(*) FROM incidents WHERE provider = 'aws'").Scan(&holds)
			if err != nil {
				return err
			}
			return tx.QueryRow(ctx, "SELECT count(*) FROM steps WHERE name = 'hold' AND state = 'done'").Scan(&held)
		})
		r.ProvedCount, r.Holds, r.HeldCount = proved, holds, held
		if err != nil || proved >= r.Pushes && held >= holds || time.Now().After(end) {
			return err
		}
		o.Tell("responses: %d of %d proved dead, %d of %d held", proved, r.Pushes, held, holds)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// measure reads the times out of the service's database.
func (r *Responses) measure(ctx context.Context, c *child, leaks []*leak) error {
	begun := map[string]time.Time{}
	for _, l := range leaks {
		begun[l.commit] = l.begun
	}
	db, err := c.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	all := &clocks{}
	by := map[string]*clocks{}
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT i.provider, i.received_at, i.verdict_at, i.contained_at, i.proved_at, s.after_id,
 COALESCE((SELECT min(created_at) FROM reports r WHERE r.incident_id = i.id AND r.created_at >= i.contained_at), 0)
 FROM incidents i JOIN scans s ON s.id = i.reference`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var provider, commit string
			var received, verdict, contained, proved, report int64
			err := rows.Scan(&provider, &received, &verdict, &contained, &proved, &commit, &report)
			if err != nil {
				return err
			}
			if by[provider] == nil {
				by[provider] = &clocks{}
			}
			for _, c := range []*clocks{all, by[provider]} {
				c.add(store.Time(received), store.Time(verdict), store.Time(contained), store.Time(proved), store.Time(report), begun[commit])
			}
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	r.ContainedCount = len(all.contained)
	r.Verdict, r.Contained, r.Proved, r.Report = spread(all.verdict), spread(all.contained), spread(all.proved), spread(all.report)
	r.PushVerdict, r.PushContained = spread(all.pushVerdict), spread(all.pushContained)
	for name, c := range by {
		r.ByProvider[name] = Split{spread(c.verdict), spread(c.contained), spread(c.proved)}
	}
	if len(all.verdict) == 0 && r.Pushes > 0 {
		return errors.New("no incident in " + filepath.Join(c.data, "stanch.db"))
	}
	return nil
}

// clocks are the times of many incidents.
type clocks struct {
	verdict, contained, proved, report, pushVerdict, pushContained []time.Duration
}

func (c *clocks) add(received, verdict, contained, proved, report, begun time.Time) {
	put := func(to *[]time.Duration, from, at time.Time) {
		if !from.IsZero() && !at.IsZero() {
			*to = append(*to, at.Sub(from))
		}
	}
	put(&c.verdict, received, verdict)
	put(&c.contained, received, contained)
	put(&c.proved, contained, proved)
	put(&c.report, contained, report)
	put(&c.pushVerdict, begun, verdict)
	put(&c.pushContained, begun, contained)
}
