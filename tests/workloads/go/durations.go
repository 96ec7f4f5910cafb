// durations: waits whose number is known, and for how long they last at least and at most. Arguments: how many goroutines,
// how many rounds, for how many milliseconds they fight afterwards, when only Go's own profiles know how often they had to
// wait, and where to write Go's own profile of the rounds (or nothing).
package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	mutex  = new(sync.Mutex)
	shared = new(sync.RWMutex)
	queue  = new(sync.RWMutex)
	group  = new(sync.WaitGroup)
	hot    = new(sync.Mutex)
	warm   = new(sync.RWMutex)
)

//go:noinline
func waitMutex() {
	mutex.Lock()
	mutex.Unlock()
}

//go:noinline
func waitReader() {
	shared.RLock()
	shared.RUnlock()
}

//go:noinline
func waitWriter() {
	queue.Lock()
	queue.Unlock()
}

//go:noinline
func waitGroup() { group.Wait() }

// rounds has all goroutines wait at once, several times.
func rounds(goroutines, rounds int, function string, hold, release, wait func()) truth {
	var least, most time.Duration
	durations := make(chan time.Duration, goroutines)
	for round := 0; round < rounds; round++ {
		hold()
		for i := 0; i < goroutines; i++ {
			go func() {
				begun := time.Now()
				wait()
				durations <- time.Since(begun)
			}()
		}
		settle(map[string]int{function + "(": goroutines})
		parked := time.Now()
		time.Sleep(2 * time.Millisecond)
		least += time.Duration(goroutines) * time.Since(parked)
		release()
		for i := 0; i < goroutines; i++ {
			most += <-durations
		}
	}
	return truth{
		"function": function,
		"waits":    goroutines * rounds,
		"least_ns": least.Nanoseconds(),
		"most_ns":  most.Nanoseconds(),
	}
}

// fight has goroutines contend for locks that they hold for a moment only.
func fight(goroutines int, length time.Duration) {
	var done sync.WaitGroup
	end := time.Now().Add(length)
	for i := 0; i < goroutines; i++ {
		done.Add(1)
		go func(i int) {
			defer done.Done()
			for round := i; time.Now().Before(end); round++ {
				hot.Lock()
				runtime.Gosched()
				hot.Unlock()
				if round%4 == 0 {
					warm.Lock()
					runtime.Gosched()
					warm.Unlock()
				} else {
					warm.RLock()
					runtime.Gosched()
					warm.RUnlock()
				}
			}
		}(i)
	}
	done.Wait()
}

// events adds up how often a profile saw a function, but for stacks with another one.
func events(profile func([]runtime.BlockProfileRecord) (int, bool), function, but string) (count int64) {
	records := make([]runtime.BlockProfileRecord, 4096)
	n, ok := profile(records)
	if !ok {
		panic("too many records")
	}
	for _, record := range records[:n] {
		frames := runtime.CallersFrames(record.Stack())
		frame, more := frames.Next()
		// The runtime's own locks, in newer releases.
		found, other := false, strings.HasPrefix(frame.Function, "runtime.")
		for more {
			found = found || strings.HasPrefix(frame.Function, function)
			other = other || strings.HasPrefix(frame.Function, but)
			frame, more = frames.Next()
		}
		if found && !other {
			count += record.Count
		}
	}
	return count
}

// releases tells how often somebody who waited was let in, by Go's own profile: a reader-writer lock has a mutex, too.
func releases() (ofMutex, ofShared int64) {
	ofMutex = events(runtime.MutexProfile, "sync.(*Mutex).", "sync.(*RWMutex).")
	ofShared = events(runtime.MutexProfile, "sync.(*RWMutex).", "nothing")
	return ofMutex, ofShared
}

func main() {
	goroutines, _ := strconv.Atoi(os.Args[1])
	count, _ := strconv.Atoi(os.Args[2])
	milliseconds, _ := strconv.Atoi(os.Args[3])
	emit("ready", truth{})
	if !allowed() {
		return
	}
	runtime.SetBlockProfileRate(1)
	var locks []truth
	for _, lock := range []struct {
		address             string
		kind                string
		function            string
		hold, release, wait func()
	}{
		{address(mutex), "mutex", "main.waitMutex", mutex.Lock, mutex.Unlock, waitMutex},
		{address(shared), "rwlock_read", "main.waitReader", shared.Lock, shared.Unlock, waitReader},
		{address(queue), "rwlock_write", "main.waitWriter", queue.RLock, queue.RUnlock, waitWriter},
		{address(group), "join", "main.waitGroup", func() { group.Add(1) }, group.Done, waitGroup},
	} {
		known := rounds(goroutines, count, lock.function, lock.hold, lock.release, lock.wait)
		known["address"] = lock.address
		known["kind"] = lock.kind
		known["blocked"] = events(runtime.BlockProfile, lock.function, "nothing")
		locks = append(locks, known)
	}
	runtime.SetBlockProfileRate(0)
	if len(os.Args) > 4 {
		profile("block", os.Args[4])
	}
	runtime.SetMutexProfileFraction(1)
	mutexBefore, sharedBefore := releases()
	fight(goroutines, time.Duration(milliseconds)*time.Millisecond)
	mutexAfter, sharedAfter := releases()
	emit("truth", truth{
		"locks":         locks,
		"hot":           address(hot),
		"hot_released":  mutexAfter - mutexBefore,
		"warm":          address(warm),
		"warm_released": sharedAfter - sharedBefore,
	})
	allowed()
}
