// knot: two goroutines wait for each other, and the rest of the program goes on.
package main

import (
	"runtime"
	"sync"
	"time"
)

type account struct {
	mu      sync.Mutex
	balance int
}

//go:noinline
func transfer(from, to *account, both *sync.WaitGroup) {
	from.mu.Lock()
	defer from.mu.Unlock()
	both.Done()
	both.Wait()
	to.mu.Lock()
	defer to.mu.Unlock()
	from.balance--
	to.balance++
}

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	a, b := &account{}, &account{}
	both := &sync.WaitGroup{}
	both.Add(2)
	go transfer(a, b, both)
	go transfer(b, a, both)
	go func() {
		for range time.Tick(time.Millisecond) {
			runtime.Gosched()
		}
	}()
	settle(map[string]int{"sync.(*Mutex).Lock": 2})
	// The collector notes since when they wait.
	runtime.GC()
	emit("parked", truth{"a": address(&a.mu), "b": address(&b.mu)})
	allowed()
}
