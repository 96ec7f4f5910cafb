// cross: goroutines and threads that wait for each other, through C and in system calls.
package main

/*
#include <pthread.h>

static pthread_mutex_t in_c = PTHREAD_MUTEX_INITIALIZER;

static void *address_in_c(void) { return &in_c; }
static int is_awaited(void) { return *(volatile int *)&in_c == 2; }

static void lock_in_c(void) {
	pthread_mutex_lock(&in_c);
	pthread_mutex_unlock(&in_c);
}

extern void lockInGo(void);

static void call_go_with_lock(void) {
	pthread_mutex_lock(&in_c);
	lockInGo();
	pthread_mutex_unlock(&in_c);
}
*/
import "C"

import (
	"fmt"
	"sync"
	"time"
)

var (
	inGo, outer   sync.Mutex
	haveGo, haveC = make(chan bool), make(chan bool)
	bothHave      = make(chan bool)
)

//export lockInGo
func lockInGo() {
	haveC <- true
	<-bothHave
	inGo.Lock()
	defer inGo.Unlock()
}

//go:noinline
func lockInC() {
	inGo.Lock()
	defer inGo.Unlock()
	haveGo <- true
	<-bothHave
	C.lock_in_c()
}

//go:noinline
func take(lock *sync.Mutex) {
	lock.Lock()
	defer lock.Unlock()
}

//go:noinline
func waitWithLock() {
	outer.Lock()
	defer outer.Unlock()
	go take(&outer)
	settle(map[string]int{"main.take(": 1, "main.lockInGo(": 1, "main.lockInC(": 1, "sync.(*Mutex).Lock": 2})
	for C.is_awaited() == 0 {
		time.Sleep(time.Millisecond)
	}
	emit("parked", truth{
		"outer": address(&outer),
		"inGo":  address(&inGo),
		"inC":   fmt.Sprintf("%p", C.address_in_c()),
	})
	allowed()
}

func main() {
	emit("ready", truth{})
	if !allowed() {
		return
	}
	go func() { C.call_go_with_lock() }()
	go lockInC()
	<-haveC
	<-haveGo
	close(bothHave)
	waitWithLock()
}
