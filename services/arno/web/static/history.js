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

  mark(entry) {
    for (const each of this.#entries) each.item.firstChild.toggleAttribute("aria-current", each === entry);
  }
}

function cover(canvas, source, width, height) {
  const scale = Math.max(SIDE_PX / width, SIDE_PX / height);
  const [w, h] = [width * scale, height * scale];
  canvas.getContext("2d").drawImage(source, (SIDE_PX - w) / 2, (SIDE_PX - h) / 2, w, h);
}
