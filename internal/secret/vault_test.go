package secret

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/keyset"
)

func newVault(t testing.TB) *Vault {
	t.Helper()
	v, err := OpenVault(context.Background(), "file://"+filepath.Join(t.TempDir(), "seal.key"), true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func parts() map[string]Value {
	return map[string]Value{"access_key_id": New("AKIAIOSFODNN7EXAMPLE"), "secret_access_key": New(canary), "empty": {}, "": New("\x00\xff")}
}

func TestVault_RoundTrip(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	v := newVault(t)
	for name, in := range map[string]map[string]Value{"parts": parts(), "none": {}, "large": {"token": New(strings.Repeat("x", 100_000))}} {
		wrapped, sealed, err := v.Seal(ctx, "inc-1", in)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte(canary[:8])) || bytes.Contains(wrapped, []byte(canary[:8])) || bytes.Contains(sealed, []byte("AKIA")) {
			t.Errorf("%s: sealed bytes show the secret", name)
		}
		out, err := v.Open(ctx, "inc-1", wrapped, sealed)
		if err != nil {
			t.Fatal(err)
		}
		if len(out) != len(in) {
			t.Errorf("%s: %d parts, want %d", name, len(out), len(in))
		}
		for k := range in {
			if !out[k].Equal(in[k]) {
				t.Errorf("%s: part %q differs", name, k)
			}
		}
	}
	err := v.Check(ctx)
	if err != nil {
		t.Errorf("check: %v", err)
	}
}

func TestVault_EachSealHasItsOwnKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	v := newVault(t)
	w1, s1, err1 := v.Seal(ctx, "a", parts())
	w2, s2, err2 := v.Seal(ctx, "a", parts())
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if bytes.Equal(w1, w2) || bytes.Equal(s1, s2) {
		t.Error("two seals share a key or a ciphertext")
	}
	_, err := v.Open(ctx, "a", w1, s2)
	if err == nil {
		t.Error("the key of one seal opens another")
	}
}

func TestVault_Refusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	v, other := newVault(t), newVault(t)
	wrapped, sealed, err := v.Seal(ctx, "inc-1", parts())
	if err != nil {
		t.Fatal(err)
	}
	otherWrapped, _, err := v.Seal(ctx, "inc-2", parts())
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, at int) []byte {
		c := bytes.Clone(b)
		c[(at+len(c))%len(c)] ^= 0x20
		return c
	}
	for name, open := range map[string]func() (map[string]Value, error){
		"another incident":       func() (map[string]Value, error) { return v.Open(ctx, "inc-2", wrapped, sealed) },
		"another incident's key": func() (map[string]Value, error) { return v.Open(ctx, "inc-1", otherWrapped, sealed) },
		"another keeper":         func() (map[string]Value, error) { return other.Open(ctx, "inc-1", wrapped, sealed) },
		"swapped columns":        func() (map[string]Value, error) { return v.Open(ctx, "inc-1", sealed, wrapped) },
		"changed ciphertext":     func() (map[string]Value, error) { return v.Open(ctx, "inc-1", wrapped, flip(sealed, -1)) },
		"changed key":            func() (map[string]Value, error) { return v.Open(ctx, "inc-1", flip(wrapped, 20), sealed) },
		"cut ciphertext":         func() (map[string]Value, error) { return v.Open(ctx, "inc-1", wrapped, sealed[:10]) },
		"no ciphertext":          func() (map[string]Value, error) { return v.Open(ctx, "inc-1", wrapped, nil) },
	} {
		out, err := open()
		if err == nil || out != nil {
			t.Errorf("%s: opened %d parts, error %v", name, len(out), err)
		}
		if err != nil && leaks(err.Error()) {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	_, err = v.Open(ctx, "inc-1", nil, sealed)
	if !errors.Is(err, ErrShredded) {
		t.Errorf("without the wrapped key: %v, want ErrShredded", err)
	}
	_, _, err = v.Seal(ctx, "inc-1", map[string]Value{"x": New(strings.Repeat("x", maxPart+1))})
	if err == nil {
		t.Error("a part beyond the limit was sealed")
	}
}

func TestOpenVault_Refusals(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	file := func(name string, size int, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, make([]byte, size), mode)
		if err != nil {
			t.Fatal(err)
		}
		err = os.Chmod(path, mode)
		if err != nil {
			t.Fatal(err)
		}
		return "file://" + path
	}
	key := base64.URLEncoding.EncodeToString(bytes.Repeat([]byte("canary!!"), 4))
	cases := map[string]string{
		"group may read":      file("group", 32, 0o640),
		"world may read":      file("world", 32, 0o604),
		"group may write":     file("write", 32, 0o620),
		"short key":           file("short", 31, 0o600),
		"long key":            file("long", 33, 0o600),
		"directory":           "file://" + dir,
		"relative path":       "file://seal.key",
		"key in the URL":      "base64key://" + key,
		"random key":          "base64key://",
		"unknown kind":        "vault://x",
		"no kind":             "/var/lib/seal.key",
		"no URL":              "file://\x7f" + key,
		"no such directory":   "file://" + filepath.Join(dir, "none", "seal.key"),
		"AWS with bad option": "awskms://alias/x?wrong=" + key,
	}
	for name, u := range cases {
		if runtime.GOOS == "windows" && strings.Contains(name, "may") {
			continue
		}
		_, err := OpenVault(ctx, u, true)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) || hint.Hint() == "" {
			t.Errorf("%s: no hint in %v", name, err)
		}
		if strings.Contains(err.Error(), key) {
			t.Errorf("%s: the error repeats the key: %v", name, err)
		}
	}
	_, err := OpenVault(ctx, "file://"+filepath.Join(dir, "missing.key"), false)
	if err == nil {
		t.Error("a missing key was made unasked")
	}
}

func TestLoadOrCreateKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fingerprint.key")
	keys := make([][]byte, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			k, err := LoadOrCreateKey(path)
			if err != nil {
				t.Error(err)
			}
			keys[i] = k
		})
	}
	wg.Wait()
	for _, k := range keys {
		if len(k) != KeySize || !bytes.Equal(k, keys[0]) {
			t.Errorf("racing creators got different keys: %d bytes", len(k))
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files left, want 1", len(left))
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	key := bytes.Repeat([]byte{1}, KeySize)
	f, err := NewFingerprinter(key)
	if err != nil {
		t.Fatal(err)
	}
	clear(key)
	base := f.Fingerprint("github", "pat", "", New("secret"))
	if len(base) != 64 || base != f.Fingerprint("github", "pat", "", New("secret")) {
		t.Errorf("fingerprint %q is not stable", base)
	}
	again, err := NewFingerprinter(bytes.Repeat([]byte{1}, KeySize))
	if err != nil || again.Fingerprint("github", "pat", "", New("secret")) != base {
		t.Errorf("the same key gives another fingerprint (%v)", err)
	}
	otherKey, err := NewFingerprinter(bytes.Repeat([]byte{2}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{base: "base"}
	for name, got := range map[string]string{
		"another key":      otherKey.Fingerprint("github", "pat", "", New("secret")),
		"another provider": f.Fingerprint("gitlab", "pat", "", New("secret")),
		"another kind":     f.Fingerprint("github", "app", "", New("secret")),
		"moved border":     f.Fingerprint("githubp", "at", "", New("secret")),
		"id, no part":      f.Fingerprint("github", "pat", "secret"),
		"two parts":        f.Fingerprint("github", "pat", "", New("sec"), New("ret")),
		"empty part":       f.Fingerprint("github", "pat", "", New("secret"), Value{}),
		"no part":          f.Fingerprint("github", "pat", ""),
	} {
		if was, twice := seen[got]; twice {
			t.Errorf("%s collides with %s", name, was)
		}
		seen[got] = name
	}
	_, err = NewFingerprinter([]byte("short"))
	if err == nil {
		t.Error("a short key was taken")
	}
}

func TestDecodeParts_Malformed(t *testing.T) {
	t.Parallel()
	good, err := encodeParts(map[string]Value{"a": New("1")})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"empty": {}, "too many": {65}, "cut": good[:len(good)-1], "more": append(bytes.Clone(good), 0),
		"twice": {2, 1, 'a', 0, 1, 'a', 0}, "huge length": {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"overflow": bytes.Repeat([]byte{0xff}, 11),
	} {
		_, err := decodeParts(b)
		if err == nil {
			t.Errorf("%s was decoded", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	ctx := context.Background()
	v := newVault(f)
	wrapped, sealed, err := v.Seal(ctx, "inc", parts())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped, sealed)
	f.Add([]byte{}, []byte{})
	f.Add(wrapped[:10], sealed[:5])
	f.Fuzz(func(t *testing.T, w, s []byte) {
		out, err := v.Open(ctx, "inc", w, s)
		if err == nil && (!bytes.Equal(s, sealed) || !out["secret_access_key"].Equal(New(canary))) {
			t.Error("foreign bytes were opened")
		}
	})
}

func FuzzDecodeParts(f *testing.F) {
	good, err := encodeParts(parts())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := decodeParts(b)
		if err != nil {
			return
		}
		again, err := encodeParts(out)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeParts(again)
		if err != nil || len(back) != len(out) {
			t.Errorf("%d parts became %d, %v", len(out), len(back), err)
		}
	})
}

// The keyset must not be readable where the keeper wraps nothing.
func TestVault_WrappedKeyIsNoPlainKeyset(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	wrapped, _, err := v.Seal(context.Background(), "x", parts())
	if err != nil {
		t.Fatal(err)
	}
	_, err = keyset.NewBinaryReader(bytes.NewReader(wrapped)).Read()
	if err == nil {
		h, err := keyset.ReadWithNoSecrets(keyset.NewBinaryReader(bytes.NewReader(wrapped)))
		if err == nil && h.Len() > 0 {
			t.Error("the wrapped key is a plain keyset")
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	ctx := context.Background()
	v := newVault(b)
	in := map[string]Value{"token": New(rand.Text())}
	for b.Loop() {
		w, s, err := v.Seal(ctx, "inc", in)
		if err != nil {
			b.Fatal(err)
		}
		_, err = v.Open(ctx, "inc", w, s)
		if err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleValue() {
	token := New("ghp_example")
	fmt.Println(token)
	// Output: [redacted]
}
