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
	// The collector notes since when they wait: as the time of the collection before, hence several, and others who wait later.
	for i := 0; i < 3; i++ {
		runtime.GC()
		go func() { <-make(chan int) }()
		time.Sleep(10 * time.Millisecond)
	}
	emit("parked", truth{"a": address(&a.mu), "b": address(&b.mu)})
	allowed()
}
