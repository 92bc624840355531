package match

import "bytes"

// Three code points fold or lower-case to ASCII letters, so that a word can
// stand in a text without its bytes: U+212A (k), U+017F (s) and U+0130 (i). A
// text that holds one is looked at in a form in which they are those letters;
// places are taken back to the text itself, and no shape is asked for.

// folded is a text with its odd runes replaced.
type folded struct {
	text []byte
	at   []int // where each replaced rune begins in the folded text
	cut  []int // and how many bytes the text is shorter behind it
}

func holdsOdd(text []byte) bool {
	return bytes.Contains(text, []byte("\u212a")) || bytes.Contains(text, []byte("\u017f")) || bytes.Contains(text, []byte("\u0130"))
}

func fold(text []byte) *folded {
	f := &folded{text: make([]byte, 0, len(text))}
	for i := 0; i < len(text); {
		letter, size := byte(0), 0
		rest := text[i:]
		switch {
		case text[i] < 0x80:
		case bytes.HasPrefix(rest, []byte("\u212a")):
			letter, size = 'k', 3
		case bytes.HasPrefix(rest, []byte("\u017f")):
			letter, size = 's', 2
		case bytes.HasPrefix(rest, []byte("\u0130")):
			letter, size = 'i', 2
		}
		if size == 0 {
			f.text = append(f.text, text[i])
			i++
			continue
		}
		lost := size - 1
		if n := len(f.cut); n > 0 {
			lost += f.cut[n-1]
		}
		f.at = append(f.at, len(f.text))
		f.cut = append(f.cut, lost)
		f.text = append(f.text, letter)
		i += size
	}
	return f
}

// original takes an offset in the folded text to the text.
func (f *folded) original(at int) int {
	lo, hi := 0, len(f.at)
	for lo < hi {
		mid := (lo + hi) / 2
		if f.at[mid] < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return at
	}
	return at + f.cut[lo-1]
}
