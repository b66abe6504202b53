;; A realloc that never returns: the host cannot even hand the event over.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (loop $again br $again) unreachable)
  (func (export "run") (param i32) (result i32) unreachable))
