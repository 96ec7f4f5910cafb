// go_layout: prints one row of agent/src/runtime/go/layout/table.rs, from its own DWARF.
//
// It is built and run by each Go release that there is, so that its row is that release's truth. It is written for the
// oldest of them.
package main

import (
	"debug/dwarf"
	"debug/elf"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// row is what the table wants to know: its field, then type and path of members; `#` stands for the size, and `=` comes
// before what it is when there is no such member.
var row = []struct{ field, path string }{
	{"g.size", "runtime.g #"},
	{"g.stack_lo", "runtime.g stack lo"},
	{"g.stack_hi", "runtime.g stack hi"},
	{"g.m", "runtime.g m"},
	{"g.sched_sp", "runtime.g sched sp"},
	{"g.sched_pc", "runtime.g sched pc"},
	{"g.syscallsp", "runtime.g syscallsp"},
	{"g.syscallpc", "runtime.g syscallpc"},
	{"g.atomicstatus", "runtime.g atomicstatus"},
	{"g.goid", "runtime.g goid"},
	{"g.waitsince", "runtime.g waitsince"},
	{"g.waitreason", "runtime.g waitreason"},
	{"g.gopc", "runtime.g gopc"},
	{"g.startpc", "runtime.g startpc"},
	{"g.waiting", "runtime.g waiting"},
	{"g.lockedm", "runtime.g lockedm"},
	{"g.timer", "runtime.g timer"},
	{"g.tracking_seq", "runtime.g trackingSeq"},
	{"g.tracking_stamp", "runtime.g trackingStamp|runtime.g runnableStamp"},
	{"m.procid", "runtime.m procid"},
	{"m.curg", "runtime.m curg"},
	{"sudog.size", "runtime.sudog #"},
	{"sudog.g", "runtime.sudog g"},
	{"sudog.next", "runtime.sudog next"},
	{"sudog.prev", "runtime.sudog prev"},
	{"sudog.elem", "runtime.sudog elem|runtime.sudog elem vu"},
	{"sudog.waitlink", "runtime.sudog waitlink"},
	{"sudog.c", "runtime.sudog c|runtime.sudog c maybeTraceablePtr vu"},
	{"hchan.size", "runtime.hchan #"},
	{"hchan.qcount", "runtime.hchan qcount"},
	{"hchan.dataqsiz", "runtime.hchan dataqsiz"},
	{"hchan.closed", "runtime.hchan closed"},
	{"hchan.recvq", "runtime.hchan recvq first"},
	{"hchan.sendq", "runtime.hchan sendq first"},
	{"hchan.timer", "runtime.hchan timer|=0"},
	{"timer.when", "runtime.timer when"},
	{"mheap.arenas", "runtime.mheap arenas"},
	{"mheap.spans", "runtime.heapArena spans"},
	{"mheap.start", "runtime.mspan startAddr"},
	{"mheap.elem_size", "runtime.mspan elemsize"},
	{"poll_desc.fd", "runtime.pollDesc fd"},
	{"poll_desc.rg", "runtime.pollDesc rg"},
	{"poll_desc.wg", "runtime.pollDesc wg"},
	{"sema_root.treap", "runtime.semaRoot treap"},
	{"sema_root.nwait", "runtime.semaRoot nwait"},
	{"notify_list.head", "runtime.notifyList head"},
	{"notify_list.in_cond", "sync.Cond notify"},
	{"moduledata.size", "runtime.moduledata #"},
	{"moduledata.ftab_len", "runtime.moduledata ftab len"},
	{"moduledata.text", "runtime.moduledata text"},
	{"moduledata.etext", "runtime.moduledata etext"},
	{"moduledata.noptrdata", "runtime.moduledata noptrdata"},
	{"moduledata.enoptrbss", "runtime.moduledata enoptrbss"},
	{"moduledata.gofunc", "runtime.moduledata gofunc"},
	{"func.func_id", "runtime._func funcID"},
	{"func.nfuncdata", "runtime._func nfuncdata"},
	{"func.size", "runtime._func #"},
	{"inlined_call.size", "runtime.inlinedCall #"},
	{"inlined_call.name", "runtime.inlinedCall nameOff|runtime.inlinedCall func_"},
	{"inlined_call.parent_pc", "runtime.inlinedCall parentPc"},
	{"inlined_call.func_id", "runtime.inlinedCall funcID"},
}

func fail(format string, words ...interface{}) {
	fmt.Fprintf(os.Stderr, "go_layout: "+format+"\n", words...)
	os.Exit(1)
}

// find walks from a type along the names of its members.
func find(types map[string]*dwarf.StructType, path string) (int64, bool) {
	if value, err := strconv.ParseInt(strings.TrimPrefix(path, "="), 10, 64); err == nil {
		return value, true
	}
	words := strings.Fields(path)
	at, ok := types[words[0]]
	if !ok {
		return 0, false
	}
	offset := int64(0)
	for index, word := range words[1:] {
		if word == "#" {
			return at.ByteSize, true
		}
		var member *dwarf.StructField
		for _, field := range at.Field {
			if field.Name == word {
				member = field
			}
		}
		if member == nil {
			return 0, false
		}
		offset += member.ByteOffset
		if index+2 == len(words) {
			// A structure where a word is expected has another path.
			inner, is := underlying(member.Type).(*dwarf.StructType)
			return offset, !is || !strings.HasPrefix(inner.StructName, "runtime.maybeTraceable")
		}
		inner, is := underlying(member.Type).(*dwarf.StructType)
		if !is {
			return 0, false
		}
		at = inner
	}
	return offset, true
}

func underlying(of dwarf.Type) dwarf.Type {
	for {
		name, is := of.(*dwarf.TypedefType)
		if !is {
			return of
		}
		of = name.Type
	}
}

func main() {
	// Keeps the types of what is waited for alive.
	cond := sync.NewCond(&sync.Mutex{})
	cond.Broadcast()
	wanted := map[string]bool{}
	for _, entry := range row {
		for _, path := range strings.Split(entry.path, "|") {
			wanted[strings.Fields(path)[0]] = true
		}
	}
	file, err := elf.Open("/proc/self/exe")
	if err != nil {
		fail("%v", err)
	}
	data, err := file.DWARF()
	if err != nil {
		fail("%v", err)
	}
	types := map[string]*dwarf.StructType{}
	for reader := data.Reader(); ; {
		entry, err := reader.Next()
		if err != nil {
			fail("%v", err)
		}
		if entry == nil {
			break
		}
		if entry.Tag == dwarf.TagCompileUnit {
			continue
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if (entry.Tag == dwarf.TagStructType || entry.Tag == dwarf.TagTypedef) && wanted[name] {
			of, err := data.Type(entry.Offset)
			if err != nil {
				fail("%s: %v", name, err)
			}
			if found, is := underlying(of).(*dwarf.StructType); is {
				types[name] = found
			}
		}
		reader.SkipChildren()
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	minor := strings.Split(version, ".")[1]
	fmt.Printf("    // go%s\n    Layout {\n        minor: %s,\n", version, minor)
	groups := []string{}
	fields := map[string][]string{}
	for _, entry := range row {
		value, found := int64(0), false
		for _, path := range strings.Split(entry.path, "|") {
			if value, found = find(types, path); found {
				break
			}
		}
		if !found {
			fail("go%s has no %s (%s)", version, entry.field, entry.path)
		}
		parts := strings.SplitN(entry.field, ".", 2)
		if fields[parts[0]] == nil {
			groups = append(groups, parts[0])
		}
		fields[parts[0]] = append(fields[parts[0]], fmt.Sprintf("%s: %d", parts[1], value))
	}
	for _, group := range groups {
		name := ""
		for _, word := range strings.Split(group, "_") {
			name += strings.ToUpper(word[:1]) + word[1:]
		}
		// As rustfmt has it.
		inside := "\n            " + strings.Join(fields[group], ",\n            ") + ",\n        "
		if len(fields[group]) == 1 {
			inside = " " + fields[group][0] + " "
		}
		fmt.Printf("        %s: %s {%s},\n", group, name, inside)
	}
	fmt.Println("    },")
}
