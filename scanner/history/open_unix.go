//go:build unix

package history

import "syscall"

const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
