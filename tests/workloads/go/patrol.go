// patrol: a sweep hangs in an HTTP request whose server answered a few times and then went silent.
package main

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

type Patrol struct {
	mu  sync.Mutex
	url string
	n   int
}

//go:noinline
func (p *Patrol) sweep() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := http.Get(p.url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	p.n++
	return err
}

//go:noinline
func (p *Patrol) Status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

//go:noinline
func (p *Patrol) run() {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		if err := p.sweep(); err != nil {
			panic(err)
		}
	}
}

// serve answers three requests, then reads and is silent.
func serve(conn net.Conn) {
	buffer := make([]byte, 4096)
	for answered := 0; ; answered++ {
		if _, err := conn.Read(buffer); err != nil {
			return
		}
		if answered == 3 {
			select {}
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
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
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		keep(conn)
		serve(conn)
	}()
	p := &Patrol{url: "http://" + listener.Addr().String() + "/sweep"}
	go p.run()
	// The server has gone silent, and so has the loop.
	settle(map[string]int{"main.serve(": 1, "[select (no cases)": 1, "main.(*Patrol).sweep(": 1, "[IO wait": 1})
	go p.Status()
	settle(map[string]int{"main.(*Patrol).Status(": 1, "sync.(*Mutex).Lock": 1})
	emit("parked", truth{"mutex": address(&p.mu), "peer": listener.Addr().String()})
	allowed()
}
