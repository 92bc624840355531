package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"stanch/responder/report"
)

// files publishes reports as files: DIR/INCIDENT/vN.{json,md,html} and the same
// without a number for the newest. Every version is kept.
type files struct{ dir string }

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
		err := writeAtomic(filepath.Join(dir, name), buf.Bytes())
		if err != nil {
			return err
		}
	}
	return nil
}

// writeAtomic replaces a file as a whole, on disk before the name points to it.
func writeAtomic(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".write-*")
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

// ReportDir is where the reports of an incident are.
func (s *Service) ReportDir(incidentID string) string {
	return filepath.Join(s.reports.dir, incidentID)
}
