// What all workloads share: the protocol (see ../truth.h), and when everybody is where they should be.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"
)

// truth is an event's fields.
type truth map[string]interface{}

// emit prints an event as one line of JSON.
func emit(event string, fields truth) {
	fields["event"] = event
	fields["pid"] = os.Getpid()
	fields["goroutines"] = runtime.NumGoroutine()
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

var kept []interface{}

// keep saves what would be closed when the garbage collector finds nobody who needs it.
func keep(what interface{}) { kept = append(kept, what) }

// allowed waits for leave to go on; false at the end of the test.
func allowed() bool {
	n, _ := os.Stdin.Read(make([]byte, 1))
	return n == 1
}

// address is a pointer as reports write it.
func address(pointer interface{}) string {
	return fmt.Sprintf("%p", pointer)
}

// counts tells how many goroutines wait that have these words in the runtime's own dump: a state as `[chan send`, or a
// function as `main.f(`.
func counts(words []string) map[string]int {
	buffer := make([]byte, 1<<20)
	length := runtime.Stack(buffer, true)
	for length == len(buffer) {
		buffer = make([]byte, 2*len(buffer))
		length = runtime.Stack(buffer, true)
	}
	found := map[string]int{}
	for _, goroutine := range strings.Split(string(buffer[:length]), "\n\n") {
		if strings.Contains(goroutine, " [runn") {
			continue
		}
		for _, word := range words {
			if strings.Contains(goroutine, word) {
				found[word]++
			}
		}
	}
	return found
}

// settle waits until so many goroutines wait that have these words in their dumps: see counts.
func settle(wanted map[string]int) {
	var words []string
	for word := range wanted {
		words = append(words, word)
	}
	for {
		found := counts(words)
		done := true
		for word, count := range wanted {
			done = done && found[word] == count
		}
		if done {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// profile writes one of Go's own profiles.
func profile(name, path string) {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if err := pprof.Lookup(name).WriteTo(file, 0); err != nil {
		panic(err)
	}
}
