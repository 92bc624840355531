//go:build unix

package gitwire

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup puts the command in a process group of its own and makes its
// cancellation kill the group: git's helpers must not outlive it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// lockDir takes the exclusive lock of a directory, or fails when another open
// file has it. The kernel drops it when the process dies.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
