package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	groupMost = 64                    // transactions that commit together
	groupTime = 10 * time.Millisecond // after which no more are taken in
)

// group lets transactions that wait for SQLite's one writer share its commit: a
// commit costs a sync of the disk, however much it holds. Each of them is a
// savepoint, so that one that fails leaves nothing and the others stay. Nobody is
// told of success before the shared commit is on disk.
//
// The functions run one after the other, each in its caller's goroutine, with a
// context that is not cancelled: SQLite answers an interrupt by rolling back all.
type group struct {
	mu      sync.Mutex
	waiting []*member
	running bool
}

// member is one caller of [DB.Tx].
type member struct {
	turn chan *sql.Tx  // its turn to run
	ran  chan struct{} // it ran, with err
	done chan struct{} // the transaction ended
	err  error
}

func (g *group) tx(ctx context.Context, db *DB, fn func(ctx context.Context, tx *Tx) error) error {
	err := ctx.Err()
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	m := &member{turn: make(chan *sql.Tx, 1), ran: make(chan struct{}, 1), done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	if !g.running {
		g.running = true
		go g.run(db)
	}
	g.mu.Unlock()
	select {
	case t := <-m.turn:
		m.run(ctx, t, fn)
		<-m.done
	case <-m.done:
	}
	return m.err
}

// run calls the caller's function. One that panics or ends its goroutine has failed.
func (m *member) run(ctx context.Context, t *sql.Tx, fn func(ctx context.Context, tx *Tx) error) {
	m.err = errors.New("the transaction's function did not return")
	defer func() { m.ran <- struct{}{} }()
	err := ctx.Err()
	if err == nil {
		err = fn(context.WithoutCancel(ctx), &Tx{q: t, sqlite: t})
	}
	m.err = err
}

// call gives the member its turn and reports whether it succeeded.
func (m *member) call(t *sql.Tx) bool {
	m.turn <- t
	<-m.ran
	return m.err == nil
}

// run commits what waits until nothing does.
func (g *group) run(db *DB) {
	for {
		g.mu.Lock()
		if len(g.waiting) == 0 {
			g.running = false
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		g.together(db)
	}
}

// next takes one member; alone reports whether nobody waits behind it.
func (g *group) next() (m *member, alone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		return nil, true
	}
	m = g.waiting[0]
	g.waiting = g.waiting[1:]
	return m, len(g.waiting) == 0
}

// together runs one transaction of the database with at least one member.
func (g *group) together(db *DB) {
	var members []*member
	err := g.begin(db, &members)
	for _, m := range members {
		if err != nil && m.err == nil {
			m.err = err
		}
		close(m.done)
	}
}

// begin runs the members and commits. Its error is that of all members that had none.
func (g *group) begin(db *DB, members *[]*member) error {
	ctx := context.Background()
	t, err := db.sql.BeginTx(ctx, nil)
	if err != nil {
		m, _ := g.next()
		*members = append(*members, m)
		return fmt.Errorf("begin: %w", err)
	}
	defer t.Rollback() //nolint:errcheck // after Commit it is a no-op
	start, kept := time.Now(), 0
	for len(*members) < groupMost && (len(*members) == 0 || time.Since(start) < groupTime) {
		m, alone := g.next()
		if m == nil {
			break
		}
		*members = append(*members, m)
		if alone && len(*members) == 1 {
			if !m.call(t) {
				return nil // rolled back
			}
			kept++
			continue
		}
		err := m.savepoint(ctx, t)
		if err != nil {
			return fmt.Errorf("share transaction: %w", err)
		}
		if m.err == nil {
			kept++
		}
	}
	if kept == 0 {
		return nil
	}
	db.at("before commit")
	err = t.Commit()
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	db.at("after commit")
	return nil
}

// savepoint runs the member so that its failure undoes its own work alone. An
// error means that the whole transaction is lost.
func (m *member) savepoint(ctx context.Context, t *sql.Tx) error {
	_, err := t.ExecContext(ctx, "SAVEPOINT member")
	if err != nil {
		return err
	}
	if !m.call(t) {
		_, err = t.ExecContext(ctx, "ROLLBACK TO member")
		if err != nil {
			return err
		}
	}
	_, err = t.ExecContext(ctx, "RELEASE member")
	return err
}
