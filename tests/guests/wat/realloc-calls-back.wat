;; A realloc that calls the host while the host is handing the event over.
(module
  (import "triggerbox:automation/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "from inside realloc")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 1) (i32.const 16) (i32.const 19))
    i32.const 1024)
  (func (export "run") (param i32) (result i32) unreachable))
