package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stanch/responder/report"
)

// files publishes reports as files: DIR/INCIDENT/vN.{json,md,html} and the same
// without a number for the newest. Every version is kept.
type files struct{ dir string }

// tmp is where a file is written before it gets its name: on the same file
// system, and cleaned when work begins.
func (f files) tmp() string { return filepath.Join(filepath.Dir(f.dir), "tmp") }

// Publish implements [responder.Publisher]. Writing the same version twice is harmless.
func (f files) Publish(_ context.Context, r report.Report) error {
	dir := filepath.Join(f.dir, r.Header.Incident)
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return err
	}
	data, err := report.JSON(r)
	if err != nil {
		return err
	}
	err = f.write(dir, r.Header.Version, "json", func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return err
	}
	err = f.write(dir, r.Header.Version, "md", func(w io.Writer) error { return report.Markdown(w, r) })
	if err != nil {
		return err
	}
	return f.write(dir, r.Header.Version, "html", func(w io.Writer) error { return report.HTML(w, r) })
}

func (f files) write(dir string, version int, ext string, render func(io.Writer) error) error {
	var buf bytes.Buffer
	err := render(&buf)
	if err != nil {
		return fmt.Errorf("render report: %w", err)
	}
	for _, name := range []string{fmt.Sprintf("v%d.%s", version, ext), "report." + ext} {
		err := f.writeAtomic(filepath.Join(dir, name), buf.Bytes())
		if err != nil {
			return err
		}
	}
	return nil
}

// writeAtomic replaces a file as a whole, on disk before the name points to it.
func (f files) writeAtomic(path string, data []byte) error {
	tmp, err := os.CreateTemp(f.tmp(), reportTemp+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	cerr := tmp.Close()
	if err != nil {
		return err
	}
	if cerr != nil {
		return cerr
	}
	return os.Rename(tmp.Name(), path)
}

// reportTemp begins the name of a file that becomes a report.
const reportTemp = "report-"

// sweep removes what a killed process had begun to write. Another process that is
// writing just now writes its report again.
func (f files) sweep() error {
	left, err := filepath.Glob(filepath.Join(f.tmp(), reportTemp+"*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// ReportDir is where the reports of an incident are.
func (s *Service) ReportDir(incidentID string) string {
	return filepath.Join(s.reports.dir, incidentID)
}
