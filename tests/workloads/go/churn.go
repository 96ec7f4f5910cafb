// churn: goroutines come and go, stacks grow, the garbage collector runs, a mutex is fought over; for as long as it is
// allowed to. Checks its own results.
package main

import (
	"sync"
	"sync/atomic"
)

//go:noinline
func deep(n int) int {
	var a [64]int
	if n == 0 {
		return 0
	}
	a[n%64] = 1
	return a[n%64] + deep(n-1)
}

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	var stop int32
	go func() {
		allowed()
		atomic.StoreInt32(&stop, 1)
	}()
	emit("running", truth{})
	var mu sync.Mutex
	results := map[int][]byte{}
	rounds := 0
	for ; atomic.LoadInt32(&stop) == 0; rounds++ {
		var group sync.WaitGroup
		for k := 0; k < 200; k++ {
			group.Add(1)
			go func(k int) {
				defer group.Done()
				if deep(k) != k {
					panic("a stack was damaged")
				}
				mu.Lock()
				results[k] = make([]byte, 1000)
				mu.Unlock()
			}(k)
		}
		group.Wait()
	}
	emit("truth", truth{"rounds": rounds, "kept": len(results)})
	allowed()
}
