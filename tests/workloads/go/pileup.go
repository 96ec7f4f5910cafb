// pileup: one goroutine holds an RWMutex while it reads from a peer that never answers; readers and writers pile up
// behind it. Arguments: how many readers, how many writers, where to write Go's own profile (or nothing).
package main

import (
	"net"
	"os"
	"strconv"
	"sync"
)

type hostCache struct {
	pad   [3]uint64
	mu    sync.RWMutex
	hosts map[string]int
	conn  net.Conn
}

//go:noinline
func (c *hostCache) cacheMutexRLock() { c.mu.RLock() }

//go:noinline
func (c *hostCache) cacheMutexLock() { c.mu.Lock() }

//go:noinline
func (c *hostCache) GetHostCount() int {
	c.cacheMutexRLock()
	defer c.mu.RUnlock()
	return len(c.hosts)
}

//go:noinline
func (c *hostCache) AgentAdmissionRequest(h string) {
	c.cacheMutexLock()
	defer c.mu.Unlock()
	c.hosts[h]++
}

//go:noinline
func (c *hostCache) RefreshFromBackend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.Read(make([]byte, 64))
}

// silent gives a connection to a peer that accepts and never says or reads anything.
func silent() net.Conn {
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
	return conn
}

func main() {
	readers, _ := strconv.Atoi(os.Args[1])
	writers, _ := strconv.Atoi(os.Args[2])
	emit("ready", truth{})
	if !allowed() {
		return
	}
	c := &hostCache{hosts: map[string]int{}, conn: silent()}
	go c.RefreshFromBackend()
	settle(map[string]int{"main.(*hostCache).RefreshFromBackend(": 1, "[IO wait": 1})
	for i := 0; i < readers; i++ {
		go c.GetHostCount()
	}
	for i := 0; i < writers; i++ {
		go c.AgentAdmissionRequest("h")
	}
	settle(map[string]int{
		"main.(*hostCache).cacheMutexRLock(": readers,
		"main.(*hostCache).cacheMutexLock(":  writers,
	})
	if len(os.Args) > 3 {
		profile("goroutine", os.Args[3])
	}
	emit("parked", truth{
		"mutex": address(&c.mu),
		"peer":  c.conn.RemoteAddr().String(),
	})
	allowed()
}
