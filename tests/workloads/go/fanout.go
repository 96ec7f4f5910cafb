// fanout: a mutex is held over a send to a channel that is full, since its receiver is stuck in a write to a peer that
// stopped reading.
package main

import (
	"net"
	"sync"
)

type ProcessLogBuffer struct {
	mx        sync.Mutex
	observers []chan string
	lines     int
}

//go:noinline
func (b *ProcessLogBuffer) Write(line string) {
	b.mx.Lock()
	defer b.mx.Unlock()
	b.lines++
	for _, ch := range b.observers {
		ch <- line
	}
}

//go:noinline
func (b *ProcessLogBuffer) Subscribe(ch chan string) {
	b.mx.Lock()
	defer b.mx.Unlock()
	b.observers = append(b.observers, ch)
}

//go:noinline
func (b *ProcessLogBuffer) GetLogLength() int {
	b.mx.Lock()
	defer b.mx.Unlock()
	return b.lines
}

//go:noinline
func streamToClient(ch chan string, c net.Conn) {
	for line := range ch {
		if _, err := c.Write([]byte(line)); err != nil {
			panic(err)
		}
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
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		panic(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		panic(err)
	}
	keep(peer)
	b := &ProcessLogBuffer{}
	ch := make(chan string, 256)
	b.Subscribe(ch)
	go streamToClient(ch, conn)
	line := string(make([]byte, 16384))
	for i := 0; i < 8; i++ {
		go func() {
			for {
				b.Write(line)
			}
		}()
	}
	// One of the eight holds the mutex and is stuck in the send.
	settle(map[string]int{
		"main.(*ProcessLogBuffer).Write(": 8,
		"[chan send":                      1,
		"[IO wait":                        1,
		"sync.(*Mutex).Lock":              7,
	})
	for i := 0; i < 4; i++ {
		go b.Subscribe(make(chan string, 256))
	}
	go b.GetLogLength()
	settle(map[string]int{"sync.(*Mutex).Lock": 12, "[chan send": 1})
	emit("parked", truth{
		"mutex":   address(&b.mx),
		"channel": address(ch),
		"peer":    conn.RemoteAddr().String(),
	})
	allowed()
}
