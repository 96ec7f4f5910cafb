// go_bench: goroutines that fight over a mutex, and others that hand values to each other. For each byte that it reads it
// counts what they do for some time. Argument: milliseconds.
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var operations uint64

func fight(mu *sync.Mutex, shared *int) {
	for {
		mu.Lock()
		*shared++
		mu.Unlock()
		atomic.AddUint64(&operations, 1)
	}
}

func hand(in, out chan int) {
	for value := range in {
		atomic.AddUint64(&operations, 1)
		out <- value
	}
}

func main() {
	milliseconds, _ := strconv.Atoi(os.Args[1])
	var mu sync.Mutex
	shared := 0
	for i := 0; i < 8; i++ {
		go fight(&mu, &shared)
	}
	for i := 0; i < 4; i++ {
		a, b := make(chan int), make(chan int)
		go hand(a, b)
		go hand(b, a)
		a <- i
	}
	fmt.Println("ready")
	for {
		if n, _ := os.Stdin.Read(make([]byte, 1)); n != 1 {
			return
		}
		before, began := atomic.LoadUint64(&operations), time.Now()
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
		done := atomic.LoadUint64(&operations) - before
		fmt.Printf("{\"operations\":%d,\"ns\":%d}\n", done, time.Since(began).Nanoseconds())
	}
}
