// kinds: goroutines that wait in every way that there is, and two that wait for each other.
package main

import (
	"os"
	"runtime/pprof"
	"sync"
	"time"
)

type worker[T any] struct{ in chan T }

//go:noinline
func (w *worker[T]) receive() { <-w.in }

//go:noinline
func takeBoth(first, second *sync.Mutex, have *sync.WaitGroup, go_on chan struct{}) {
	first.Lock()
	defer first.Unlock()
	have.Done()
	<-go_on
	second.Lock()
	defer second.Unlock()
}

// dump writes Go's own dump of the goroutines, grouped by their stacks.
func dump(path string) {
	file, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	if err := pprof.Lookup("goroutine").WriteTo(file, 1); err != nil {
		panic(err)
	}
}

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	start := func(count int, run func()) {
		for i := 0; i < count; i++ {
			go run()
		}
	}
	cond := sync.NewCond(&sync.Mutex{})
	start(3, func() {
		cond.L.Lock()
		cond.Wait()
	})
	group := &sync.WaitGroup{}
	group.Add(1)
	start(2, group.Wait)
	once := &sync.Once{}
	stuck := make(chan struct{})
	start(3, func() { once.Do(func() { <-stuck }) })
	left, right := make(chan int), make(chan string)
	start(4, func() {
		select {
		case <-left:
		case right <- "x":
		}
	})
	start(1, func() { select {} })
	start(1, func() { <-(chan int)(nil) })
	start(5, func() { time.Sleep(time.Hour) })
	w := &worker[int]{in: make(chan int, 3)}
	start(6, w.receive)
	unbuffered := make(chan int)
	start(2, func() { unbuffered <- 1 })
	a, b := &sync.Mutex{}, &sync.Mutex{}
	have, go_on := &sync.WaitGroup{}, make(chan struct{})
	have.Add(2)
	go takeBoth(a, b, have, go_on)
	go takeBoth(b, a, have, go_on)
	have.Wait()
	close(go_on)
	settle(map[string]int{
		"sync.(*Cond).Wait(":           3,
		"sync.(*WaitGroup).Wait(":      2,
		"sync.(*Once).doSlow(":         3,
		"sync.(*Mutex).Lock":           4,
		"[select]":                     4,
		"[select (no cases)":           1,
		"[sleep":                       5,
		"[chan send":                   2,
		"[chan receive":                8,
		"main.(*worker[...]).receive(": 6,
	})
	if len(os.Args) > 1 {
		dump(os.Args[1])
	}
	emit("parked", truth{
		"cond":       address(cond),
		"group":      address(group),
		"once":       address(once),
		"channel":    address(w.in),
		"unbuffered": address(unbuffered),
		"a":          address(a),
		"b":          address(b),
	})
	allowed()
}
