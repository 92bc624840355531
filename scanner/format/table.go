package format

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"stanch/scanner"
)

// writeTable writes one line a finding; nothing for no findings.
func writeTable(w io.Writer, r Report) error {
	if len(r.Findings) == 0 {
		return nil
	}
	owner := r.owners()
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	verified := len(r.Verdicts) > 0
	fmt.Fprint(t, r.painted("", "CONFIDENCE")+"\tCREDENTIAL")
	if verified {
		fmt.Fprint(t, "\tVERDICT")
	}
	fmt.Fprint(t, "\tWHERE\tCOMMIT\tAUTHOR\tCLASS\tRULE")
	if r.ShowSecrets {
		fmt.Fprint(t, "\tSECRET")
	}
	fmt.Fprintln(t)
	for _, f := range r.Findings {
		what := strings.TrimSpace(f.Provider + " " + f.Kind)
		c := owner[keyOf(f)]
		if c != nil && c.PublicID != "" {
			what += " " + c.PublicID
		}
		if c != nil && c.Account != "" {
			what += " (account " + c.Account + ")"
		}
		class := string(f.Class)
		if f.Suppressed != "" {
			class += " (hidden by default: " + f.Suppressed + ")"
		}
		commit := f.Place.Commit[:min(10, len(f.Place.Commit))]
		fmt.Fprintf(t, "%s\t%s", r.painted(f.Confidence, string(f.Confidence)), orDash(Inert(what)))
		if verified {
			v := r.verdict(c)
			if v == nil {
				v = &Verdict{}
			}
			fmt.Fprintf(t, "\t%s", orDash(Inert(v.Outcome)))
		}
		fmt.Fprintf(t, "\t%s\t%s\t%s\t%s\t%s", Inert(where(f.Place)), orDash(commit),
			orDash(Inert(f.Place.Author.Name)), Inert(class), Inert(f.Rule))
		if r.ShowSecrets {
			fmt.Fprintf(t, "\t%s", Inert(f.Secret.Reveal()))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// painted gives text in the colour of a confidence. Every colour takes as many
// bytes, so that the columns stay in line.
func (r Report) painted(c scanner.Confidence, text string) string {
	if !r.Colour {
		return text
	}
	colour := map[scanner.Confidence]string{scanner.ConfidenceHigh: "31", scanner.ConfidenceMedium: "33", scanner.ConfidenceLow: "36"}[c]
	if colour == "" {
		colour = "39"
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// where is a place in the form that editors and terminals open.
func where(p scanner.Place) string {
	name := p.Path
	switch {
	case p.Object == "" || p.Object == "blob":
		if name == "" {
			name = "(standard input or unnamed blob)"
		}
	case p.Path != "":
		name = p.Object + " " + p.Path
	case p.Ref != "":
		name = p.Object + " of " + p.Ref
	default:
		name = p.Object
	}
	return fmt.Sprintf("%s:%d:%d", name, p.Line, p.Column)
}

// Inert gives text that does nothing to a terminal: control, escape, direction
// and invisible characters are written as their code.
func Inert(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == ' ' || unicode.IsPrint(r) && !unicode.Is(unicode.Cf, r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%04x}`, r)
		}
		i += size
	}
	return b.String()
}
