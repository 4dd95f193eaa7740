// The pictures of this session, with their answers; kept in this tab and nowhere else.
import { byId, element } from "./dom.js";

const SIDE_PX = 112;
const KEPT_MAX = 40;

export class History {
  #entries = [];

  /** `onOpen(entry)` is called for a picture that is chosen again. */
  constructor(onOpen) { this.onOpen = onOpen; }

  /** Keep a picture; `source` is drawn as its thumbnail. */
  add(entry, source) {
    const canvas = element("canvas", { width: SIDE_PX, height: SIDE_PX });
    if (source) cover(canvas, source, entry.width, entry.height);
    else named(canvas, entry.image.name);
    const button = element("button", {
      type: "button", class: "thumb", "aria-label": `Open ${entry.image.name} again`, onclick: () => this.onOpen(entry),
    }, canvas);
    entry.item = element("li", {}, button);
    this.#entries.unshift(entry);
    byId("history").prepend(entry.item);
    for (const old of this.#entries.splice(KEPT_MAX)) old.item.remove();
    byId("history-section").hidden = false;
    this.mark(entry);
  }

  /** Forget a picture; return the newest that is left, or null. */
  remove(entry) {
    entry.item.remove();
    this.#entries = this.#entries.filter((each) => each !== entry);
    byId("history-section").hidden = !this.#entries.length;
    return this.#entries[0] ?? null;
  }

  mark(entry) {
    for (const each of this.#entries) each.item.firstChild.toggleAttribute("aria-current", each === entry);
  }
}

/** Write the ending of a file's name where there is no picture of it. */
function named(canvas, name) {
  const context = canvas.getContext("2d");
  Object.assign(context, { font: "600 26px system-ui, sans-serif", fillStyle: "#7b8494", textAlign: "center", textBaseline: "middle" });
  context.fillText(name.split(".").pop().slice(0, 6).toUpperCase(), SIDE_PX / 2, SIDE_PX / 2, SIDE_PX - 12);
}

function cover(canvas, source, width, height) {
  const scale = Math.max(SIDE_PX / width, SIDE_PX / height);
  const [w, h] = [width * scale, height * scale];
  canvas.getContext("2d").drawImage(source, (SIDE_PX - w) / 2, (SIDE_PX - h) / 2, w, h);
}
