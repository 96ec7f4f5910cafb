// go_bench: pairs of goroutines that hand a turn to each other, half of them through mutexes, where every turn parks on a
// semaphore, and half through channels. All run on one processor: on two, it would be luck how often they meet. For each byte that
// it reads it counts their turns for some time. Argument: milliseconds.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const pairs = 4

var operations uint64

func turn(mine, other *sync.Mutex) {
	for {
		mine.Lock()
		atomic.AddUint64(&operations, 1)
		other.Unlock()
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
	runtime.GOMAXPROCS(1)
	for i := 0; i < pairs; i++ {
		first, second := new(sync.Mutex), new(sync.Mutex)
		second.Lock()
		go turn(first, second)
		go turn(second, first)
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
