// What the sources of `arno ingest` see, with their regions: motion JPEG, read by fetch so that the
// API key goes along, which an <img> cannot send.
import { cameras, camera, Problem } from "./api.js";
import { byId, element } from "./dom.js";

const AGAIN_MS = 2000;

/** Yield each picture of a multipart body; parts say their length. */
async function* pictures(body) {
  const reader = body.getReader();
  let waiting = new Uint8Array();
  const decoder = new TextDecoder("latin1");
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const joined = new Uint8Array(waiting.length + value.length);
    joined.set(waiting);
    joined.set(value, waiting.length);
    waiting = joined;
    for (;;) {
      const head = decoder.decode(waiting.subarray(0, 512));
      const end = head.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1]);
      if (end < 0 || waiting.length < end + 4 + length) break;
      yield new Blob([waiting.slice(end + 4, end + 4 + length)], { type: "image/jpeg" });
      // The line's end after a picture belongs to the next head.
      waiting = waiting.slice(end + 4 + length);
    }
  }
}

async function watch(name, canvas, note) {
  for (;;) {
    try {
      for await (const blob of pictures(await camera(name))) {
        const bitmap = await createImageBitmap(blob);
        Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        bitmap.close();
        note.textContent = "";
      }
      note.textContent = "opened again";
    } catch (error) {
      note.textContent = error instanceof Problem ? error.message : "broken off";
    }
    await new Promise((done) => setTimeout(done, AGAIN_MS));
  }
}

function show(name) {
  const canvas = element("canvas", { role: "img", "aria-label": `What ${name} sees` });
  const note = element("output", {}, "waits for a picture");
  byId("cameras").append(element("figure", { class: "card" }, canvas, element("figcaption", {}, name, " ", note)));
  watch(name, canvas, note);
}

try {
  const names = await cameras();
  names.forEach(show);
  if (!names.length) byId("cameras").append(element("p", { class: "note" }, "This server shows no cameras. Start arno ingest with preview, and arno web with --web-previews and its address."));
} catch (error) {
  byId("problem").replaceChildren(element("b", {}, error.details?.title ?? "The request failed"), element("p", {}, error.message));
  byId("problem").hidden = false;
}
