package secret

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// The switch cannot be taken back, so a child process throws it.
func TestDisableCoreDumps(t *testing.T) {
	t.Parallel()
	const child = "STANCH_TEST_NO_CORE"
	if os.Getenv(child) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(exe, "-test.run=^TestDisableCoreDumps$", "-test.count=1")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("child: %v\n%s", err, out)
		}
		return
	}
	err := DisableCoreDumps()
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	err = unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	if err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("core limit %+v, %v", limit, err)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("dumpable = %d, %v", dumpable, err)
	}
}
