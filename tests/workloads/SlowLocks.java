import java.util.concurrent.locks.LockSupport;

/** Java monitors and parked threads: {@code SlowLocks ROUNDS}. Speaks the protocol of {@code truth.h}. */
public class SlowLocks {
    private static final Object MONITOR = new Object();
    private static final int WAITERS = 2;

    private static void awaitState(Thread thread, Thread.State state) throws InterruptedException {
        while (thread.getState() != state) {
            Thread.sleep(1);
        }
    }

    public static void main(String[] arguments) throws Exception {
        int rounds = Integer.parseInt(arguments[0]);
        System.out.println("{\"event\":\"ready\",\"pid\":" + ProcessHandle.current().pid() + "}");
        if (System.in.read() < 0) {
            return;
        }
        for (int round = 0; round < rounds; round++) {
            Thread[] threads = new Thread[WAITERS];
            synchronized (MONITOR) {
                for (int i = 0; i < WAITERS; i++) {
                    threads[i] = new Thread(() -> {
                        synchronized (MONITOR) {
                            Thread.onSpinWait();
                        }
                        LockSupport.park();
                    });
                    threads[i].start();
                }
                for (Thread thread : threads) {
                    awaitState(thread, Thread.State.BLOCKED);
                }
                // Blocked is not yet asleep.
                Thread.sleep(20);
            }
            for (Thread thread : threads) {
                awaitState(thread, Thread.State.WAITING);
                // Nor is waiting.
                Thread.sleep(20);
                LockSupport.unpark(thread);
                awaitState(thread, Thread.State.TERMINATED);
            }
        }
        System.out.println("{\"event\":\"counted\",\"locks\":[]}");
        System.in.read();
        System.exit(0);
    }
}
