// Asking a language model. Provider, key, prices and budgets are the host's; throws a HostError with code
// `llm-not-configured` while there is no provider.

import llm from "triggerbox:automation/llm@0.1.1";

import { ask as askHost } from "./errors.ts";
import type * as host from "triggerbox:host";

export type Message = host.LlmMessage;
export type ToolCall = host.ToolCall;
export type ToolResult = host.ToolResult;
export interface Tool { name: string; description: string; /** JSON Schema of the arguments. */ parameters: object }
export interface Options {
  /** Another model than the rule's. */
  model?: string;
  tools?: readonly Tool[];
  /** JSON Schema that the answer must satisfy; the host checks. */
  schema?: object;
  temperature?: number;
  maxTokens?: number;
}
export type Completion = ReturnType<typeof llm.complete>;

/** Standing instructions. */
export const system = (text: string): Message => ({ tag: "system", val: text });
/** What is asked. */
export const user = (text: string): Message => ({ tag: "user", val: text });
/** What the model said, and the tools it asked for. */
export const assistant = (text: string, calls: ToolCall[] = []): Message =>
  calls.length ? { tag: "assistant-calls", val: [text, calls] } : { tag: "assistant", val: text };
/** The answers to the tools that the model asked for. */
export const toolResults = (results: ToolResult[]): Message => ({ tag: "tool-results", val: results });
/** The answer to one tool call. */
export const result = (call: ToolCall, content: string, isError = false): ToolResult => ({ callId: call.id, content, isError });

/** One completion. */
export function complete(messages: readonly Message[], options: Options = {}): Completion {
  return askHost(() => llm.complete({
    model: options.model ?? null,
    messages: [...messages],
    tools: (options.tools ?? []).map(({ name, description, parameters }) => (
      { name, description, parametersSchema: JSON.stringify(parameters) }
    )),
    outputSchema: options.schema ? JSON.stringify(options.schema) : null,
    temperature: options.temperature ?? null,
    maxTokens: options.maxTokens ?? null,
  }));
}

/** One question, one answer; with `schema`, as data. */
export function ask(question: string, options: Options = {}): any {
  const { text } = complete([user(question)], options);
  return options.schema ? JSON.parse(text) : text;
}
