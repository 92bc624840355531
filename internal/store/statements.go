package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// keptStatements bounds the prepared statements that a connection keeps, and
// keptLength the text of each; both are far above what the queries of this house
// and of the jobs engine come to.
const (
	keptStatements = 256
	keptLength     = 8 << 10
)

// keeping opens SQLite connections that keep their prepared statements: to parse
// a statement takes SQLite longer than to run most of ours.
type keeping struct {
	driver driver.Driver
	dsn    string
}

// openKeeping opens a pool of such connections.
func openKeeping(dsn string) (*sql.DB, error) {
	d, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	drv := d.Driver()
	err = d.Close() // no connection was made yet
	return sql.OpenDB(keeping{drv, dsn}), err
}

// Connect implements [driver.Connector].
func (k keeping) Connect(context.Context) (driver.Conn, error) {
	c, err := k.driver.Open(k.dsn)
	if err != nil {
		return nil, err
	}
	s, ok := c.(sqliteConn)
	if !ok {
		c.Close()
		return nil, errors.New("the SQLite driver lacks methods")
	}
	return &conn{sqliteConn: s, kept: map[string]*statement{}}, nil
}

// Driver implements [driver.Connector].
func (k keeping) Driver() driver.Driver { return k.driver }

type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// conn is one connection. database/sql gives it to one goroutine at a time.
type conn struct {
	sqliteConn
	kept map[string]*statement
}

// statement is a prepared statement; one with open rows runs no second query.
type statement struct {
	driver.Stmt
	busy bool
}

// statement gives the prepared statement of a query, nil when it is not to be kept.
func (c *conn) statement(ctx context.Context, query string) (*statement, error) {
	s := c.kept[query]
	if s != nil {
		if s.busy {
			return nil, nil
		}
		return s, nil
	}
	if len(query) > keptLength || len(c.kept) >= keptStatements {
		return nil, nil
	}
	p, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s = &statement{Stmt: p}
	c.kept[query] = s
	return s, nil
}

// ExecContext implements [driver.ExecerContext].
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) == 0 {
		return c.sqliteConn.ExecContext(ctx, query, args) // schema changes, scripts
	}
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.ExecContext(ctx, query, args)
	}
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

// QueryContext implements [driver.QueryerContext].
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.sqliteConn.QueryContext(ctx, query, args)
	}
	r, err := s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &rows{r, s}, nil
}

// Close implements [driver.Conn].
func (c *conn) Close() error {
	var errs []error
	for _, s := range c.kept {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.sqliteConn.Close())...)
}

// rows free their statement when they are closed.
type rows struct {
	driver.Rows
	statement *statement
}

func (r *rows) Close() error {
	err := r.Rows.Close()
	r.statement.busy = false
	return err
}
