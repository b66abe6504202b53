;; Grows its table for ever.
(module
  (memory (export "memory") 4)
  (table $t 1 funcref)
  (global $next (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "run") (param i32) (result i32)
    (loop $again
      (drop (table.grow $t (ref.null func) (i32.const 1000)))
      br $again)
    unreachable))
