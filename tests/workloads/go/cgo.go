// Links C into a workload.
package main

// static int zero(void) { return 0; }
import "C"

var _ = C.zero()
