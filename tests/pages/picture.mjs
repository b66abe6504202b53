// Whether a picture shows anything.

import { inflateSync } from "node:zlib";

/** Rows of a PNG that have more than one colour, up to so many. */
const rows = (png, most) => {
  const width = png.readUInt32BE(16);
  const bytes = { 2: 3, 6: 4 }[png[25]];
  if (png[24] !== 8 || !bytes) throw new Error(`a picture of another kind: ${png[24]} bits, colours of kind ${png[25]}`);
  const parts = [];
  for (let at = 8; at < png.length;) {
    const length = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "IDAT") parts.push(png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  const data = inflateSync(Buffer.concat(parts));
  let found = 0;
  // Each row says how it is written, then how far each byte is from those before it. But for its first colour, one of a single
  // colour, below another one like it, says nothing but zeros.
  for (let at = 0; at < data.length && found < most; at += 1 + width * bytes) {
    if (data.subarray(at + 1 + bytes, at + 1 + width * bytes).some((one) => one !== 0)) found += 1;
  }
  return found;
};

/** Whether there is no more on a picture than a line or two. */
export const isBlank = (png) => rows(png, 20) < 20;
