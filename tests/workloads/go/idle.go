// idle: a server at rest. An HTTP server with a connection that is kept alive, workers that wait for work in every way that
// there is, and somebody who waits for all of them to end. Argument: how many workers of each kind.
package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	workers, _ := strconv.Atoi(os.Args[1])
	var all sync.WaitGroup
	start := func(run func()) {
		for i := 0; i < workers; i++ {
			all.Add(1)
			go func() {
				defer all.Done()
				run()
			}()
		}
	}
	jobs, results, stop := make(chan int), make(chan int, 8), make(chan struct{})
	start(func() { <-jobs })
	start(func() {
		select {
		case <-jobs:
		case <-stop:
		case <-time.After(time.Hour):
		}
	})
	start(func() { time.Sleep(time.Hour) })
	start(func() {
		for range results {
		}
	})
	var mu sync.Mutex
	queue := sync.NewCond(&mu)
	start(func() {
		mu.Lock()
		defer mu.Unlock()
		queue.Wait()
	})
	// Both an end that all wait for, and many who wait for it.
	for i := 0; i < workers; i++ {
		go all.Wait()
	}
	go func() {
		for range time.Tick(10 * time.Millisecond) {
			mu.Lock()
			mu.Unlock()
		}
	}()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.NotFoundHandler())
	answer, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		panic(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	settle(map[string]int{
		"[sync.Cond.Wait":        workers,
		"sync.(*WaitGroup).Wait": workers,
		"[sleep":                 workers,
	})
	emit("parked", truth{})
	allowed()
}
