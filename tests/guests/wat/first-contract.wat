;; Means no harm: asks what the fields of a model are, as the first contract has it, says so, and ends well.
(module
  (import "triggerbox:automation/records@0.1.0" "fields-get" (func $fields (param i32 i32 i32 i32 i32)))
  (import "triggerbox:automation/log@0.1.0" "write" (func $log (param i32 i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 16) "crm.lead")
  (data (i32.const 32) "fields are told")
  (global $next (mut i32) (i32.const 4096))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 3))))
  (func (export "run") (param i32) (result i32)
    ;; All fields of the model, to 1024: an error, or how many there are.
    (call $fields (i32.const 16) (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024)) (then unreachable))
    (if (i32.ne (i32.load (i32.const 1032)) (i32.const 1)) (then unreachable))
    (call $log (i32.const 1) (i32.const 32) (i32.const 15))
    ;; An outcome with nothing in it.
    (i32.const 2048)))
