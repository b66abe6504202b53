// Package llm asks language models. Provider, key, prices and budgets are the host's: it fails with llm-not-configured while
// there is no provider.
package llm

import (
	"triggerbox"
	"triggerbox/host/llm"
	wit "triggerbox/wit/types"
)

// Turn is one turn of a conversation.
type Turn = triggerbox_automation_llm.Message

// ToolCall is what the model asks the script to do. ArgumentsJson is as the model wrote it: it may not fit the schema.
type ToolCall = triggerbox_automation_llm.ToolCall

// ToolResult is what came of a tool call.
type ToolResult = triggerbox_automation_llm.ToolResult

// Usage is what an answer took; Cost by the prices that the host knows.
type Usage = triggerbox_automation_llm.Usage

// System is standing instructions.
func System(text string) Turn { return triggerbox_automation_llm.MakeMessageSystem(text) }

// User is what is asked.
func User(text string) Turn { return triggerbox_automation_llm.MakeMessageUser(text) }

// Assistant is what the model answered earlier, and the tools that it asked for.
func Assistant(text string, calls ...ToolCall) Turn {
	if len(calls) == 0 {
		return triggerbox_automation_llm.MakeMessageAssistant(text)
	}
	return triggerbox_automation_llm.MakeMessageAssistantCalls(wit.Tuple2[string, []ToolCall]{F0: text, F1: calls})
}

// ToolResults is what came of the tools that the model asked for: one result for each call.
func ToolResults(results ...ToolResult) Turn {
	return triggerbox_automation_llm.MakeMessageToolResults(results)
}

// Result is what came of a tool call: text or JSON, for the model.
func Result(call ToolCall, content string) ToolResult {
	return ToolResult{CallId: call.Id, Content: content, IsError: false}
}

// Failure is why a tool call could not be done.
func Failure(call ToolCall, reason string) ToolResult {
	return ToolResult{CallId: call.Id, Content: reason, IsError: true}
}

// Tool is something that the model may ask for. Schema is a JSON Schema of the arguments.
type Tool struct{ Name, Description, Schema string }

// Options are how to answer; the zero value leaves it all to the rule.
type Options struct {
	// Model is another one than the rule's.
	Model string
	Tools []Tool
	// Schema is a JSON Schema that the answer must satisfy; the host checks.
	Schema string
	// Temperature is 0 to 2; nil: the provider's own.
	Temperature *float32
	// MaxTokens bounds the answer; 0: what the budget allows.
	MaxTokens uint32
}

// Answer is what the model said.
type Answer struct {
	// Text may be empty beside calls.
	Text  string
	Calls []ToolCall
	// Finish is why it stopped: stop, length, tool-calls, refused or other.
	Finish string
	Usage  Usage
	// Model is the one that answered.
	Model string
}

var finishes = [...]string{"stop", "length", "tool-calls", "refused", "other"}

// Complete makes one completion.
func Complete(turns []Turn, options Options) (Answer, error) {
	request := triggerbox_automation_llm.Request{
		Model: some(options.Model), Messages: turns, OutputSchema: some(options.Schema),
		Temperature: wit.None[float32](), MaxTokens: some(options.MaxTokens),
	}
	if options.Temperature != nil {
		request.Temperature = wit.Some(*options.Temperature)
	}
	for _, tool := range options.Tools {
		request.Tools = append(request.Tools, triggerbox_automation_llm.Tool{
			Name: tool.Name, Description: tool.Description, ParametersSchema: tool.Schema,
		})
	}
	answer, err := triggerbox.Checked(triggerbox_automation_llm.Complete(request))
	if err != nil {
		return Answer{}, err
	}
	return Answer{answer.Text, answer.Calls, finishes[answer.Finish], answer.Usage, answer.Model}, nil
}

// Ask puts one question to the rule's model.
func Ask(question string) (string, error) {
	answer, err := Complete([]Turn{User(question)}, Options{})
	return answer.Text, err
}

// some is a value, unless it is the zero value.
func some[T comparable](value T) wit.Option[T] {
	var zero T
	if value == zero {
		return wit.None[T]()
	}
	return wit.Some(value)
}
