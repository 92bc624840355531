package main

import (
	"os"
	"reflect"
	goruntime "runtime"
	"runtime/debug"
)

// What Git hooks call has to start fast: this file leaves out of the start what
// such a command does not need.

// collectLater lets the garbage collector begin at 24 MB of heap instead of 4: a
// short command then ends without it. From the first collection on it works as
// ever. The operator's GOGC goes before.
func collectLater() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(600)
	first := new(*int)
	goruntime.AddCleanup(first, func(percent int) { debug.SetGCPercent(percent) }, 100)
}

// grammar gives the commands among which args choose: all of them, or just the
// one where it is one that hooks call, since reading them all takes as long as
// a small scan.
func grammar(args []string) any {
	called := map[string]string{"scan": "Scan", "receive-hook": "Receive"}
	if len(args) > 0 && called[args[0]] != "" {
		f, _ := reflect.TypeFor[commands]().FieldByName(called[args[0]])
		return reflect.New(reflect.StructOf([]reflect.StructField{f})).Interface()
	}
	return new(commands)
}
