;; Stages something, and then hands over a text that is not UTF-8.
(module
  (import "triggerbox:automation/state@0.1.0" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "triggerbox:automation/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "key")
  (data (i32.const 32) "1")
  (data (i32.const 48) "not \ff\fe text")
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "run") (param i32) (result i32)
    (call $set (i32.const 16) (i32.const 3) (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 1024))
    (call $log (i32.const 1) (i32.const 48) (i32.const 11))
    unreachable))
