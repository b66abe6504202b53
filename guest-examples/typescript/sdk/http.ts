// Calling other services, as far as the rule grants host, method and path.

import http from "triggerbox:automation/http@0.1.1";

import { ask } from "./errors.ts";
import { decode, encode } from "./text.ts";

export interface Options {
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** Sent as the body, with its content type unless `headers` has one. */
  json?: unknown;
}

export class Response {
  readonly status: number;
  /** By name, in lower case. */
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;

  constructor(status: number, headers: [string, string][], body: Uint8Array) {
    this.status = status;
    this.headers = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
    this.body = body;
  }

  get text(): string {
    return decode(this.body);
  }

  json(): any {
    return JSON.parse(this.text);
  }
}

/** Sends a request. */
export function send(method: string, url: string, { headers, body, json }: Options = {}): Response {
  const all: Record<string, string> = { ...headers };
  const typed = Object.keys(all).some((name) => name.toLowerCase() === "content-type");
  if (json !== undefined && !typed) all["content-type"] = "application/json";
  const content = json === undefined ? body ?? "" : JSON.stringify(json);
  const bytes = typeof content === "string" ? encode(content) : content;
  const answer = ask(() => http.send({ method: method.toUpperCase(), url, headers: Object.entries(all), body: bytes }));
  return new Response(answer.status, answer.headers, answer.body);
}

export const get = (url: string, options?: Options): Response => send("GET", url, options);
export const post = (url: string, options?: Options): Response => send("POST", url, options);
