package secret

import (
	"bytes"
	"testing"
)

func TestBox(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	b, err := NewBox(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := []byte("refs/heads/a-secret-branch")
	sealed := b.Seal("one", plain)
	if bytes.Contains(sealed, plain) || bytes.Equal(sealed, b.Seal("one", plain)) {
		t.Error("sealed bytes show or repeat what they hold")
	}
	got, err := b.Open("one", sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("open: %q, %v", got, err)
	}
	other, err := NewBox(bytes.Repeat([]byte{8}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another name": func() ([]byte, error) { return b.Open("two", sealed) },
		"another key":  func() ([]byte, error) { return other.Open("one", sealed) },
		"changed": func() ([]byte, error) {
			return b.Open("one", append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1))
		},
		"cut": func() ([]byte, error) { return b.Open("one", sealed[:5]) },
	} {
		_, err := open()
		if err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	_, err = NewBox(key[1:])
	if err == nil {
		t.Error("a short key was taken")
	}
}
