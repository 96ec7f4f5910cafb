// handoff: two goroutines on one processor that let each other go on, so that every lock has to park, but for a few. Measures one more time
// for every byte that it reads. Argument: how many milliseconds a measurement takes.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// Each of the two parks once in a round, unless it was preempted before it could.
const parkedInRound = 2

func main() {
	milliseconds, _ := strconv.Atoi(os.Args[1])
	runtime.GOMAXPROCS(1)
	var ping, pong sync.Mutex
	ping.Lock()
	pong.Lock()
	go func() {
		for {
			ping.Lock()
			pong.Unlock()
		}
	}()
	fmt.Println("ready")
	for {
		if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
			return
		}
		rounds := 0
		begun := time.Now()
		for time.Since(begun) < time.Duration(milliseconds)*time.Millisecond {
			for i := 0; i < 100; i++ {
				ping.Unlock()
				pong.Lock()
			}
			rounds += 100
		}
		took := time.Since(begun)
		fmt.Printf("{\"operations\": %d, \"ns\": %d}\n", rounds*parkedInRound, took.Nanoseconds())
	}
}
