// Bundles a script with its library, and makes a component of it. Called with one argument: JSON that names the files.

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, relative, resolve, sep } from "node:path";

const order = JSON.parse(process.argv[2]);
const require = createRequire(resolve(order.tool, "package.json"));
const { build } = require("esbuild");
const { componentize } = require("componentize-qjs");

// The script is known to the library as `triggerbox:script`, the library to the script as `triggerbox`; all other
// names that start so are the host's.
const names = {
  name: "triggerbox",
  setup({ onResolve }) {
    onResolve({ filter: /^triggerbox:script$/ }, () => ({ path: order.script }));
    onResolve({ filter: /^triggerbox$/ }, () => ({ path: resolve(order.library, "index.ts") }));
    onResolve({ filter: /^triggerbox:/ }, ({ path }) => ({ path, external: true }));
  },
};

let bundle;
try {
  bundle = await build({
    entryPoints: [resolve(order.library, "main.ts")],
    plugins: [names],
    bundle: true,
    write: false,
    outdir: dirname(order.output),
    format: "esm",
    // What QuickJS runs.
    target: "es2023",
    charset: "utf8",
    sourcemap: "external",
    sourcesContent: false,
    tsconfigRaw: {},
    logLevel: "warning",
  });
} catch {
  // esbuild has said why.
  process.exit(1);
}
const [map, code] = ["main.js.map", "main.js"].map((name) => bundle.outputFiles.find((file) => file.path.endsWith(name)).text);

// The engine knows the bundle's lines only; errors are shown with the script's.
const source = `${code}\nglobalThis.__triggerbox_lines = ${JSON.stringify(lines(JSON.parse(map)))};\n`;
const { component } = await componentize({ witPath: order.wit, world: order.world, jsSource: source, sync: true });
writeFileSync(order.output, component);

/** For each line of the bundle the source and the line it comes from; only the script's own sources have names. */
function lines({ sources, mappings }) {
  const folder = dirname(order.script);
  const names = sources.map((path) => {
    const name = relative(folder, resolve(dirname(order.output), path)).split(sep).join("/");
    return resolve(dirname(order.output), path).startsWith(order.library + sep) ? null : name;
  });
  let [from, line] = [0, 0];
  const found = mappings.split(";").map((group) => {
    let first = null;
    for (const segment of group.split(",").filter(Boolean)) {
      const [, sourceStep = 0, lineStep = 0] = vlq(segment);
      from += sourceStep;
      line += lineStep;
      first ??= [from, line + 1];
    }
    return first ?? [-1, 0];
  });
  return { sources: names, lines: found };
}

/** The numbers of one segment of a source map: base 64, five bits at a time, sign last. */
function vlq(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const character of segment) {
    const digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".indexOf(character);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}
