// Package types holds what the generated bindings say options, results and tuples with.
package types

// Tags of options and results.
const (
	OptionNone = 0
	OptionSome = 1
	ResultOk   = 0
	ResultErr  = 1
)

// Option is a value that may not be there.
type Option[T any] struct {
	tag   uint8
	value T
}

// None is no value.
func None[T any]() Option[T] { return Option[T]{} }

// Some is this value.
func Some[T any](value T) Option[T] { return Option[T]{OptionSome, value} }

// Tag says whether there is a value.
func (option Option[T]) Tag() uint8 { return option.tag }

// Some is the value, if there is one.
func (option Option[T]) Some() T { return option.value }

// Get is the value, and whether there is one.
func (option Option[T]) Get() (T, bool) { return option.value, option.tag == OptionSome }

// Result is a value or an error.
type Result[T, E any] struct {
	tag   uint8
	value T
	err   E
}

// Ok is a good result.
func Ok[T, E any](value T) Result[T, E] { return Result[T, E]{tag: ResultOk, value: value} }

// Err is an error.
func Err[T, E any](err E) Result[T, E] { return Result[T, E]{tag: ResultErr, err: err} }

// Tag says which it is.
func (result Result[T, E]) Tag() uint8 { return result.tag }

// Ok is the value of a good result.
func (result Result[T, E]) Ok() T { return result.value }

// Err is the error of a bad one.
func (result Result[T, E]) Err() E { return result.err }

// IsErr says whether it is an error.
func (result Result[T, E]) IsErr() bool { return result.tag == ResultErr }

// Tuple2 is a pair.
type Tuple2[A, B any] struct {
	F0 A
	F1 B
}

// Unit is nothing.
type Unit struct{}
