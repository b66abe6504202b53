;; A start function that never ends: the script is stopped before its `run` is ever called.
(module
  (memory (export "memory") 1)
  (func $start (loop $again br $again))
  (start $start)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "run") (param i32) (result i32) unreachable))
