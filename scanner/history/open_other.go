//go:build !unix

package history

const openFlags = 0
