// exec: goroutines park on a mutex, then the process executes itself: they are gone, though nobody woke them, and others
// park. Arguments: how many park at first, how many afterwards.
package main

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

var mutex sync.Mutex

//go:noinline
func park() { mutex.Lock() }

func main() {
	count, _ := strconv.Atoi(os.Args[1])
	emit("ready", truth{})
	if !allowed() {
		return
	}
	mutex.Lock()
	for i := 0; i < count; i++ {
		go park()
	}
	settle(map[string]int{"main.park(": count})
	emit("parked", truth{"mutex": address(&mutex)})
	allowed()
	if len(os.Args) > 2 {
		panic(syscall.Exec("/proc/self/exe", []string{os.Args[0], os.Args[2]}, os.Environ()))
	}
}
