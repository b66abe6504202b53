;; Asks for 125 MiB before it does anything.
(module
  (memory (export "memory") 2000)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "run") (param i32) (result i32) unreachable))
