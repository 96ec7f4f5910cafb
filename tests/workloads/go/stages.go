// stages: goroutines pile up behind a mutex in stages, and go on in the end. Arguments: how many wait in each stage.
package main

import (
	"os"
	"strconv"
	"sync"
)

type ledger struct {
	mu      sync.Mutex
	entries int
}

//go:noinline
func (l *ledger) post() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries++
}

//go:noinline
func (l *ledger) audit(done chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	<-done
}

func main() {
	emit("ready", truth{})
	l, done := &ledger{}, make(chan struct{})
	go l.audit(done)
	settle(map[string]int{"main.(*ledger).audit(": 1, "[chan receive": 1})
	var posts sync.WaitGroup
	count := 0
	for _, argument := range os.Args[1:] {
		if !allowed() {
			return
		}
		wanted, _ := strconv.Atoi(argument)
		for ; count < wanted; count++ {
			posts.Add(1)
			go func() {
				defer posts.Done()
				l.post()
			}()
		}
		settle(map[string]int{"main.(*ledger).post(": count})
		emit("piled", truth{"mutex": address(&l.mu), "channel": address(done)})
	}
	if !allowed() {
		return
	}
	close(done)
	posts.Wait()
	emit("released", truth{"entries": l.entries})
	allowed()
}
