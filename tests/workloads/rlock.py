"""rlock WAITERS: a thread takes a threading.RLock twice and waits for leave to go on; WAITERS others wait for the lock.

  ready -> go -> parked -> go -> truth -> go -> leaves
"""
import json
import os
import sys
import threading
import time


def say(event, **fields):
    print(json.dumps({"event": event, "pid": os.getpid(), **fields}), flush=True)


def await_go():
    if os.read(0, 1) != b"g":
        sys.exit(1)


def system_call(tid):
    """Number and first argument of the call that a thread sleeps in."""
    with open(f"/proc/self/task/{tid}/syscall") as file:
        return file.read().split()[:2]


def await_same(tids):
    """Waits until all sleep in a futex call on one word, and do so at the next look, too."""
    before = None
    while True:
        calls = [system_call(tid) for tid in tids]
        if calls == before and all(call[:1] == ["202"] and call == calls[0] for call in calls):
            return calls[0][1]
        before = calls
        time.sleep(0.02)


lock = threading.RLock()
taken = threading.Event()
leave, entered = os.pipe()
passed = []


def hold():
    with lock, lock:
        taken.set()
        os.read(leave, 1)


def wait():
    with lock:
        passed.append(threading.get_native_id())


say("ready")
await_go()
holder = threading.Thread(target=hold, name="holder")
holder.start()
taken.wait()
waiters = [threading.Thread(target=wait) for _ in range(int(sys.argv[1]))]
for waiter in waiters:
    waiter.start()
tids = [waiter.native_id for waiter in waiters]
word = await_same(tids)
say("parked", address=word, kind="mutex", function="", holder=holder.native_id, waiters=tids)
await_go()
os.write(entered, b"g")
for thread in [holder, *waiters]:
    thread.join()
say("truth", passed=len(passed))
await_go()
