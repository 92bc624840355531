package gitwire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"stanch/internal/secret"
)

const storePrefix = "stanch-wire-"

// session is one temporary directory and what git needs to talk to one URL.
// It is used by one goroutine.
type session struct {
	git    string
	root   string
	lock   *os.File
	url    string
	auth   string // basic authorisation, or ""
	limits Limits
}

// store is a bare repository in a session. Commands that use the network run in
// dir; all others in view, which shares the objects but knows no remote and no
// shallow boundary, so that nothing is ever fetched by the way.
type store struct {
	dir, view string
}

func newSession(url string, token secret.Value, l Limits) (*session, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	root, err := os.MkdirTemp(l.TempDir, storePrefix)
	if err != nil {
		return nil, fmt.Errorf("make temporary store: %w", err)
	}
	lock, err := lockDir(root)
	if err != nil {
		_ = os.RemoveAll(root)
		return nil, fmt.Errorf("lock temporary store: %w", err)
	}
	s := &session{git: git, root: root, lock: lock, url: url, limits: l}
	if !token.IsZero() {
		s.auth = base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token.Reveal()))
	}
	return s, nil
}

func (s *session) close() {
	_ = os.RemoveAll(s.root)
	_ = s.lock.Close()
}

// newStore writes a bare repository. No template is used, so there are no hooks.
func (s *session) newStore(name string, idLen int, partial bool) (*store, error) {
	st := &store{dir: filepath.Join(s.root, name), view: filepath.Join(s.root, name+".view")}
	for _, d := range []string{st.dir + "/objects/pack", st.dir + "/objects/info", st.dir + "/refs", st.view + "/refs", st.view + "/objects"} {
		err := os.MkdirAll(d, 0o700)
		if err != nil {
			return nil, fmt.Errorf("make store: %w", err)
		}
	}
	version, ext := "0", ""
	if idLen == 64 {
		version, ext = "1", "\tobjectFormat = sha256\n"
	}
	err := writeRepository(st.view, version, ext)
	if err != nil {
		return nil, err
	}
	if partial {
		version, ext = "1", ext+"\tpartialClone = origin\n"
	}
	return st, writeRepository(st.dir, version, ext)
}

func writeRepository(dir, version, extensions string) error {
	config := "[core]\n\tbare = true\n\trepositoryFormatVersion = " + version + "\n"
	if extensions != "" {
		config += "[extensions]\n" + extensions
	}
	err := os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600)
	if err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	err = os.WriteFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/main\n"), 0o600)
	if err != nil {
		return fmt.Errorf("make store: %w", err)
	}
	return nil
}

// environment is all that git gets: nothing is inherited but PATH.
func (s *session) environment(st *store, network bool) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.root,
		"XDG_CONFIG_HOME=" + s.root,
		"LC_ALL=C",
		"GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_ASKPASS=/bin/false",
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_NO_REPLACE_OBJECTS=1",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_TEMPLATE_DIR=",
	}
	config := [][2]string{
		{"core.hooksPath", os.DevNull},
		{"core.fsmonitor", "false"},
		{"core.attributesFile", os.DevNull},
		{"core.bigFileThreshold", "8m"}, // larger blobs are streamed, not held
		{"core.deltaBaseCacheLimit", "32m"},
		{"core.packedGitLimit", "256m"},
		{"gc.auto", "0"},
		{"maintenance.auto", "false"},
		{"pack.threads", "1"},
	}
	if !network {
		env = append(env, "GIT_DIR="+st.view, "GIT_OBJECT_DIRECTORY="+filepath.Join(st.dir, "objects"),
			"GIT_ALLOW_PROTOCOL=none")
		return append(env, configEnvironment(config)...)
	}
	config = append(config, [][2]string{
		{"remote.origin.url", s.url},
		{"credential.helper", ""},
		{"fetch.negotiationAlgorithm", "noop"},
		{"fetch.recurseSubmodules", "false"},
		{"fetch.writeCommitGraph", "false"},
		{"fetch.unpackLimit", "1"},
		{"transfer.fsckObjects", "false"}, // see the package comment
		{"http.followRedirects", "false"},
		{"http.lowSpeedLimit", "1000"},
		{"http.lowSpeedTime", "60"},
		{"protocol.version", "2"},
	}...)
	if s.auth != "" {
		config = append(config, [2]string{"http." + s.url + ".extraHeader", "Authorization: Basic " + s.auth})
	}
	env = append(env, "GIT_DIR="+st.dir, "GIT_ALLOW_PROTOCOL=http:https")
	return append(env, configEnvironment(config)...)
}

func configEnvironment(pairs [][2]string) []string {
	env := []string{"GIT_CONFIG_COUNT=" + strconv.Itoa(len(pairs))}
	for i, p := range pairs {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+p[0], "GIT_CONFIG_VALUE_"+n+"="+p[1])
	}
	return env
}

// size is what lies in the session's directory, in bytes.
func (s *session) size() int64 {
	var total int64
	_ = filepath.WalkDir(s.root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // files come and go while git works
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// dropUnfinished deletes packs that a killed git left half written.
func (st *store) dropUnfinished() {
	for _, pattern := range []string{"/objects/pack/tmp_*", "/objects/tmp_*", "/objects/pack/.tmp-*", "/shallow.lock"} {
		names, _ := filepath.Glob(st.dir + pattern)
		for _, n := range names {
			_ = os.Remove(n)
		}
	}
}

// Sweep deletes the stores that a crash left in tempDir ("" means os.TempDir)
// and returns how many. Stores of running processes are left alone.
func Sweep(tempDir string) (int, error) {
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	entries, err := os.ReadDir(tempDir)
	if err != nil {
		return 0, fmt.Errorf("sweep temporary stores: %w", err)
	}
	removed := 0
	var failed error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), storePrefix) {
			continue
		}
		path := filepath.Join(tempDir, e.Name())
		lock, err := lockDir(path)
		if err != nil {
			continue // in use
		}
		err = os.RemoveAll(path)
		_ = lock.Close()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("sweep temporary stores: %w", err))
			continue
		}
		removed++
	}
	return removed, failed
}
