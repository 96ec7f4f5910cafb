// slow: a mutex that many wait for and that is handed on all the time. Arguments: how many, and for how many milliseconds
// each of them holds it.
package main

import (
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	count, _ := strconv.Atoi(os.Args[1])
	hold, _ := strconv.Atoi(os.Args[2])
	var mu sync.Mutex
	var turns int64
	for i := 0; i < count; i++ {
		go func() {
			for {
				mu.Lock()
				time.Sleep(time.Duration(hold) * time.Millisecond)
				atomic.AddInt64(&turns, 1)
				mu.Unlock()
			}
		}()
	}
	emit("moving", truth{"mutex": address(&mu)})
	allowed()
	emit("turns", truth{"turns": atomic.LoadInt64(&turns)})
	allowed()
}
