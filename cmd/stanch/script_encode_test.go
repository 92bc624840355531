package main

import (
	"encoding/binary"
	"os"
	"strings"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
)

// encodeFile is "encode FORM FILE LINE...": the lines in an encoding of text.
// Forms: utf16le, utf16be, the same with -bom, latin1 (with a letter that is no
// ASCII in front), crlf, long (five million letters before and behind, on one line).
func encodeFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: encode FORM FILE LINE...")
	}
	text := strings.Join(args[2:], "\n") + "\n"
	form, mark := strings.CutSuffix(args[0], "-bom")
	if mark {
		text = "\ufeff" + text
	}
	var out []byte
	switch form {
	case "utf16le", "utf16be":
		order := binary.AppendByteOrder(binary.LittleEndian)
		if form == "utf16be" {
			order = binary.BigEndian
		}
		for _, u := range utf16.Encode([]rune(text)) {
			out = order.AppendUint16(out, u)
		}
	case "latin1":
		out = []byte("\xfcber\n" + text)
	case "crlf":
		out = []byte(strings.ReplaceAll(text, "\n", "\r\n"))
	case "long":
		pad := strings.Repeat("lorem ipsum ", 5_000_000/12)
		out = []byte(pad + strings.TrimSuffix(text, "\n") + " " + pad + "\n")
	default:
		ts.Fatalf("encode: no form %s", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
}
