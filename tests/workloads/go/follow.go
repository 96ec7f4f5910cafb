// follow: goroutines that wait for each other in every way that a chain can take, and what must not be taken for a deadlock.
package main

import (
	"net"
	"sync"
	"time"
)

// peer is a connection whose other end says nothing.
func peer(listener net.Listener) net.Conn {
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	far, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	keep(far)
	return near
}

type queue struct {
	cond  *sync.Cond
	conn  net.Conn
	items []byte
}

//go:noinline
func (q *queue) consume() {
	q.cond.L.Lock()
	for len(q.items) == 0 {
		q.cond.Wait()
	}
	q.cond.L.Unlock()
}

//go:noinline
func (q *queue) produce() {
	item := make([]byte, 1)
	q.conn.Read(item)
	q.cond.L.Lock()
	q.items = append(q.items, item...)
	q.cond.L.Unlock()
	q.cond.Signal()
}

//go:noinline
func work(group *sync.WaitGroup) {
	defer group.Done()
	time.Sleep(time.Hour)
}

//go:noinline
func read(lock *sync.RWMutex) {
	lock.RLock()
	defer lock.RUnlock()
	time.Sleep(time.Hour)
}

//go:noinline
func write(lock *sync.RWMutex) {
	lock.Lock()
	defer lock.Unlock()
}

//go:noinline
func take(lock *sync.Mutex) {
	lock.Lock()
	defer lock.Unlock()
}

//go:noinline
func choose(lock *sync.Mutex, in, out chan int) {
	lock.Lock()
	defer lock.Unlock()
	select {
	case <-in:
	case out <- 1:
	}
}

//go:noinline
func feed(conn net.Conn, out chan int) {
	conn.Read(make([]byte, 1))
	out <- 1
}

// sendBehind sends to a channel once it has a lock.
//
//go:noinline
func sendBehind(lock *sync.Mutex, out chan int) {
	lock.Lock()
	defer lock.Unlock()
	out <- 1
}

//go:noinline
func receiveEither(lock *sync.Mutex, one, other chan int) {
	lock.Lock()
	defer lock.Unlock()
	select {
	case <-one:
	case <-other:
	}
}

//go:noinline
func receiveInTime(in chan int) {
	select {
	case <-in:
	case <-time.After(time.Hour):
	}
}

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	// A consumer, and a producer that gets nothing itself.
	q := &queue{cond: sync.NewCond(&sync.Mutex{}), conn: peer(listener)}
	go q.consume()
	go q.produce()
	// A group of two who sleep.
	group := &sync.WaitGroup{}
	group.Add(2)
	go work(group)
	go work(group)
	go group.Wait()
	// Two readers, a writer behind them, and a reader behind that.
	shared := &sync.RWMutex{}
	go read(shared)
	go read(shared)
	settle(map[string]int{"main.read(": 2})
	go write(shared)
	settle(map[string]int{"main.write(": 1})
	go read(shared)
	// A `select` whose one case is fed by somebody who waits for the peer; nobody is known for the other one.
	several, in, lost := &sync.Mutex{}, make(chan int), make(chan int)
	go choose(several, in, lost)
	go feed(peer(listener), in)
	// Of these two cases one can never be.
	single, only := &sync.Mutex{}, make(chan int)
	go choose(single, only, nil)
	go feed(peer(listener), only)
	// A circle of two, but somebody else may end it.
	open, mayCome, done := &sync.Mutex{}, make(chan int), make(chan int)
	go receiveEither(open, mayCome, done)
	// A circle of which there is no way out.
	closed, left, right := &sync.Mutex{}, make(chan int), make(chan int)
	go receiveEither(closed, left, right)
	go receiveInTime(make(chan int))
	settle(map[string]int{"main.choose(": 2, "main.receiveEither(": 2, "[select": 5})
	go take(several)
	go take(single)
	go sendBehind(open, mayCome)
	go sendBehind(closed, left)
	go sendBehind(closed, right)
	settle(map[string]int{
		"sync.(*Cond).Wait(":      1,
		"sync.(*WaitGroup).Wait(": 1,
		"main.read(":              3,
		"main.write(":             1,
		"main.take(":              2,
		"main.sendBehind(":        3,
		"[IO wait":                3,
		"[sleep":                  4,
	})
	emit("parked", truth{
		"peer":    listener.Addr().String(),
		"cond":    address(q.cond),
		"group":   address(group),
		"shared":  address(shared),
		"several": address(several),
		"single":  address(single),
		"open":    address(open),
		"closed":  address(closed),
	})
	keep(done)
	keep(lost)
	allowed()
}
