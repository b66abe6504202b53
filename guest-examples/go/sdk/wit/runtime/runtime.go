// Package runtime gives memory to what the host hands over.
package runtime

import (
	"runtime"
	"unsafe"
)

// What the host hands over stays where it is for the whole run.
var pinner runtime.Pinner

// The host hands over the event before Go has started: memory for it is asked of the system. From then on it is Go's.
var started = false

func init() { started = true }

//go:linkname sbrk runtime.sbrk
func sbrk(bytes uintptr) unsafe.Pointer

// The clock stands still while memory is made: a component must call nothing then, and Go's collector asks the time.
//
//go:wasmimport wasi_snapshot_preview1 adapter_monotonic_clock_set_paused
func pauseClock(paused bool)

// Allocate makes memory that does not move.
func Allocate(pins *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	// Words of eight bytes are aligned for everything in the contract.
	memory := unsafe.Pointer(unsafe.SliceData(make([]uint64, (size+7)/8)))
	pins.Pin(memory)
	return memory
}

// Unpin lets go of nothing: a run's memory is gone with it.
func Unpin() {}

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uintptr) unsafe.Pointer {
	if !started {
		start := uintptr(sbrk(size + align))
		return unsafe.Pointer((start + align - 1) &^ (align - 1))
	}
	pauseClock(true)
	memory := Allocate(&pinner, size, align)
	pauseClock(false)
	return memory
}
