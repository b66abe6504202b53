// A small language model of this machine as a server that speaks chat completions: to try Triggerbox's provider with a
// real model, where there is neither a key nor a network. For tests: one request at a time, no tools, no streaming.
//
//   npm install node-llama-cpp
//   node serve.mjs MODEL.gguf [PORT]
//
// PORT 0, the default, is one that the system chooses; the address is printed. docs/llm.md says where a small model
// comes from.

import { createServer } from "node:http";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createRequire } from "node:module";

// From the folder that it is started in, not from the one that this file lies in.
const require = createRequire(resolve("serve.mjs"));
const { getLlama, LlamaChatSession, LlamaJsonSchemaGrammar } = await import(
    pathToFileURL(require.resolve("node-llama-cpp"))
);

const CONTEXT = 4096;
// The library's threads spin while they wait for each other: more than there are idle processors make it slow.
const THREADS = Number(process.env.THREADS ?? 1);
const LONGEST_REQUEST = 1 << 20;

const [file, port = "0"] = process.argv.slice(2);
if (!file) {
    console.error("usage: node serve.mjs MODEL.gguf [PORT]");
    process.exit(2);
}
const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });
const model = await llama.loadModel({ modelPath: resolve(file) });
const context = await model.createContext({ contextSize: CONTEXT, threads: THREADS });
const sequence = context.getSequence();

// A small model does not come to an end by itself: texts and lists of an answer by a schema are this long at most.
const LONGEST_TEXT = 80;
const MOST_ITEMS = 2;

/** A schema with an end to its texts and lists. */
function bounded(schema) {
    if (Array.isArray(schema)) return schema.map(bounded);
    if (typeof schema !== "object" || schema === null) return schema;
    const of = Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, bounded(part)]));
    if (of.type === "string" && !of.enum) of.maxLength ??= LONGEST_TEXT;
    if (of.type === "array") of.maxItems ??= MOST_ITEMS;
    return of;
}

/** What a request is told when it makes no sense. */
class Refused extends Error {}

/** The conversation as the model's library wants it, and the last text, which is to be answered. */
function conversation(messages) {
    if (!Array.isArray(messages) || messages.length === 0) throw new Refused("there are no messages");
    const system = messages.filter(({ role }) => role === "system").map(({ content }) => content);
    const said = messages.filter(({ role }) => role !== "system");
    const last = said.pop();
    if (last?.role !== "user") throw new Refused("the last message is not a user's; this server has no tools");
    const history = said.map(({ role, content }) =>
        role === "assistant" ? { type: "model", response: [content ?? ""] } : { type: "user", text: content ?? "" },
    );
    if (system.length > 0) history.unshift({ type: "system", text: system.join("\n\n") });
    return { history, last: last.content ?? "" };
}

async function complete(request) {
    const { history, last } = conversation(request.messages);
    const schema = request.response_format?.json_schema?.schema;
    const grammar = schema && new LlamaJsonSchemaGrammar(llama, bounded(schema));
    const session = new LlamaChatSession({ contextSequence: sequence, autoDisposeSequence: false });
    session.setChatHistory(history);
    const before = sequence.tokenMeter.getState();
    const maxTokens = request.max_completion_tokens ?? request.max_tokens ?? 512;
    const temperature = request.temperature ?? 0;
    const { responseText, stopReason } = await session.promptWithMeta(last, { grammar, maxTokens, temperature });
    const used = sequence.tokenMeter.diff(before);
    session.dispose();
    await sequence.clearHistory();
    return {
        id: "local",
        object: "chat.completion",
        model: request.model ?? "local",
        choices: [
            {
                index: 0,
                message: { role: "assistant", content: responseText },
                finish_reason: stopReason === "maxTokens" ? "length" : "stop",
            },
        ],
        usage: {
            prompt_tokens: used.usedInputTokens,
            completion_tokens: used.usedOutputTokens,
            total_tokens: used.usedInputTokens + used.usedOutputTokens,
        },
    };
}

async function body(request) {
    const pieces = [];
    let length = 0;
    for await (const piece of request) {
        length += piece.length;
        if (length > LONGEST_REQUEST) throw new Refused("the request is too large");
        pieces.push(piece);
    }
    try {
        return JSON.parse(Buffer.concat(pieces).toString("utf8"));
    } catch {
        throw new Refused("the request is no JSON");
    }
}

// The model answers one at a time.
let turn = Promise.resolve();

const server = createServer((request, response) => {
    const answer = (status, json) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(json));
    };
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
        answer(404, { error: { message: "POST /v1/chat/completions is all there is" } });
        return;
    }
    turn = turn.then(async () => {
        try {
            answer(200, await complete(await body(request)));
        } catch (error) {
            answer(error instanceof Refused ? 400 : 500, { error: { message: String(error.message ?? error) } });
        }
    });
});
server.listen(Number(port), "127.0.0.1", () => {
    console.log(`http://127.0.0.1:${server.address().port}/v1`);
});
