// The picture: a canvas, the regions over it, boxes that are drawn, and what is asked about them.
import { byId, drawn, element } from "./dom.js";
import { REGION_TASKS } from "./tasks.js";

export const SIDE_PX_MAX = 2048; // of the canvas; the regions keep the image's own pixels
const DRAG_PX_MIN = 6; // on the screen: less is a click
const STEP = 0.02; // of the image's width or height, for an arrow key

export class Stage {
  #stage = byId("stage");
  #canvas = byId("canvas");
  #overlay = byId("overlay");
  #tags = byId("tags");
  #ask = byId("ask");
  #size = [1, 1];
  #shapes = new Map();
  #draft = null;
  #drawing = false;
  #asked = null;

  /** `onAsk(task, box)` is called for a region that was clicked or drawn, `onHover(id)` for one under the pointer. */
  constructor({ onAsk, onHover }) {
    this.onAsk = onAsk;
    this.onHover = onHover;
    this.asking = true;
    this.#overlay.addEventListener("pointerdown", (event) => this.#press(event));
    this.#overlay.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.closeAsk());
    for (const [task, title] of REGION_TASKS) {
      this.#ask.append(element("button", { type: "button", "data-task": task, onclick: () => this.#chosen(task) }, title));
    }
    this.#ask.append(element("button", { type: "button", class: "plain", "aria-label": "Close", onclick: () => this.closeAsk() }, "✕"));
    this.#ask.addEventListener("keydown", (event) => this.#walk(event));
    new ResizeObserver(() => this.#spreadTags()).observe(this.#stage);
  }

  get size() { return this.#size; }

  /** Show a picture: anything that a canvas draws, of the image's own width and height. */
  show(source, width, height) {
    this.#size = [width, height];
    const scale = Math.min(1, SIDE_PX_MAX / Math.max(width, height));
    this.#canvas.width = Math.max(1, Math.round(width * scale));
    this.#canvas.height = Math.max(1, Math.round(height * scale));
    this.#stage.style.setProperty("--ratio", `${width} / ${height}`);
    this.#stage.style.setProperty("--ratio-number", width / height);
    this.#overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const context = this.#canvas.getContext("2d");
    if (source) context.drawImage(source, 0, 0, this.#canvas.width, this.#canvas.height);
    this.#stage.hidden = false;
  }

  hide() { this.#stage.hidden = true; }

  describe(text) { this.#canvas.setAttribute("aria-label", text); }

  /** Draw these regions in place of the others. */
  draw(regions) {
    const focused = document.activeElement?.dataset?.region;
    this.#shapes.clear();
    this.#overlay.replaceChildren();
    this.#tags.replaceChildren();
    // Large ones first, so that small ones in them can be clicked.
    for (const region of [...regions].sort((one, other) => area(other) - area(one))) this.#add(region);
    this.#spreadTags();
    if (this.#draft) this.#overlay.append(this.#draft.shape);
    if (focused) this.#shapes.get(focused)?.shape.focus({ preventScroll: true });
  }

  /** Make one region stand out; null for none. */
  highlight(id) {
    this.#stage.classList.toggle("dim", id !== null && this.#shapes.has(id));
    for (const [each, { shape, tag }] of this.#shapes) {
      shape.classList.toggle("lit", each === id);
      tag.classList.toggle("lit", each === id);
    }
  }

  /** Take drags of a finger as boxes, and place one that the keyboard moves. */
  setDrawing(on) {
    this.#drawing = on;
    this.#stage.classList.toggle("drawing", on);
    if (!on) return this.#dropDraft();
    const [width, height] = this.#size;
    this.#place([width * 0.35, height * 0.35, width * 0.65, height * 0.65]);
    this.#draft.shape.focus();
  }

  closeAsk() {
    if (this.#ask.hidden) return;
    const inside = this.#ask.contains(document.activeElement);
    this.#ask.hidden = true;
    this.#asked = null;
    if (inside) (this.#back?.isConnected ? this.#back : byId("draw")).focus({ preventScroll: true });
    if (!this.#drawing) this.#dropDraft();
  }

  #back = null;

  #add(region) {
    const name = region.label || "region";
    const said = `${name}${region.score === null ? "" : `, score ${region.score.toFixed(2)}`}`;
    const shape = drawn("g", {
      class: `region ${region.shape}`, tabindex: 0, role: "button", "data-region": region.id,
      "aria-label": this.asking ? `${said}. Ask about it` : said,
      onpointerenter: () => this.onHover(region.id), onpointerleave: () => this.onHover(null),
      onfocus: ({ currentTarget }) => currentTarget.matches(":focus-visible") && this.onHover(region.id), onblur: () => this.onHover(null),
    });
    for (const outline of region.outlines) shape.append(drawn("polygon", { points: outline.join(" ") }));
    shape.style.setProperty("--colour", region.colour);
    shape.region = region;
    this.#overlay.append(shape);
    const tag = element("span", { class: "tag" }, name, region.score === null ? "" : element("i", {}, region.score.toFixed(2)));
    const [x0, y0, x1, y1] = region.box;
    tag.style.setProperty("--colour", region.colour);
    tag.style.left = `${(100 * x0) / this.#size[0]}%`;
    [tag.high, tag.low] = [y0, y1].map((y) => `${(100 * y) / this.#size[1]}%`);
    tag.style.top = tag.high;
    tag.style.setProperty("--room", `${(100 * Math.max(x1 - x0, this.#size[0] * 0.25)) / this.#size[0]}%`);
    this.#tags.append(tag);
    this.#shapes.set(region.id, { shape, tag });
  }

  /** Move tags that would hide one another or leave the picture: above the box, inside it, or below it. */
  #spreadTags() {
    const { top, bottom } = this.#tags.getBoundingClientRect();
    const placed = [];
    for (const tag of this.#tags.children) {
      const usual = placeTag(tag, "").top < top ? "inside" : "";
      let own;
      for (const place of [usual, "inside", "below", usual]) {
        own = placeTag(tag, place);
        if (own.bottom <= bottom && !placed.some((other) => overlap(own, other))) break;
      }
      placed.push(own);
    }
  }

  #at(event) {
    const place = this.#overlay.getBoundingClientRect();
    const x = ((event.clientX - place.left) / place.width) * this.#size[0];
    const y = ((event.clientY - place.top) / place.height) * this.#size[1];
    return [Math.min(Math.max(x, 0), this.#size[0]), Math.min(Math.max(y, 0), this.#size[1])];
  }

  #press(event) {
    if (event.button !== 0 || !this.asking) return;
    const shape = event.target.closest("g");
    const touch = event.pointerType === "touch" && !this.#drawing;
    const start = this.#at(event);
    const from = [event.clientX, event.clientY];
    let moved = false;
    const move = (next) => {
      moved ||= Math.hypot(next.clientX - from[0], next.clientY - from[1]) >= DRAG_PX_MIN;
      if (!moved || touch) return;
      const end = this.#at(next);
      this.#place([Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])]);
    };
    const end = (last) => {
      this.#overlay.removeEventListener("pointermove", move);
      this.#overlay.removeEventListener("pointerup", end);
      this.#overlay.removeEventListener("pointercancel", end);
      if (last.type === "pointercancel") return;
      if (moved && !touch && this.#draft) this.#open(this.#draft.box, this.#draft.shape);
      else if (!moved && shape?.region) this.#open(shape.region.box, shape);
      else if (!moved && shape && this.#draft) this.#open(this.#draft.box, shape);
      else if (!moved) this.closeAsk();
    };
    this.#overlay.setPointerCapture(event.pointerId);
    this.#overlay.addEventListener("pointermove", move);
    this.#overlay.addEventListener("pointerup", end);
    this.#overlay.addEventListener("pointercancel", end);
  }

  #key(event) {
    const shape = event.target.closest("g");
    if (!shape) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (this.asking) this.#open(shape.region?.box ?? this.#draft.box, shape);
    } else if (shape === this.#draft?.shape && event.key.startsWith("Arrow")) {
      event.preventDefault();
      this.#nudge(event.key, event.shiftKey);
    }
  }

  #nudge(key, resize) {
    const [width, height] = this.#size;
    const right = (key === "ArrowRight") - (key === "ArrowLeft");
    const down = (key === "ArrowDown") - (key === "ArrowUp");
    let [x0, y0, x1, y1] = this.#draft.box;
    const [dx, dy] = [right * STEP * width, down * STEP * height];
    if (resize) {
      x1 = Math.min(Math.max(x1 + dx, x0 + STEP * width), width);
      y1 = Math.min(Math.max(y1 + dy, y0 + STEP * height), height);
    } else {
      const [mx, my] = [Math.min(Math.max(dx, -x0), width - x1), Math.min(Math.max(dy, -y0), height - y1)];
      [x0, x1, y0, y1] = [x0 + mx, x1 + mx, y0 + my, y1 + my];
    }
    this.#place([x0, y0, x1, y1]);
  }

  /** Show the box that is being drawn. */
  #place(box) {
    const [x0, y0, x1, y1] = box;
    if (!this.#draft) {
      const shape = drawn("g", { class: "draft", tabindex: 0, role: "button" }, drawn("rect"));
      this.#overlay.append(shape);
      this.#draft = { shape, box };
    }
    this.#draft.box = box;
    const rect = this.#draft.shape.firstChild;
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) rect.setAttribute(name, value);
    const said = box.map((side) => Math.round(side)).join(", ");
    this.#draft.shape.setAttribute("aria-label", `Box at ${said}. Arrow keys move it, with Shift resize it, Enter asks about it`);
  }

  #dropDraft() {
    this.#draft?.shape.remove();
    this.#draft = null;
  }

  #open(box, from) {
    this.#asked = box;
    this.#back = from;
    this.#ask.hidden = false;
    const [width, height] = this.#size;
    const low = box[3] / height > 0.8;
    this.#ask.style.left = `${(100 * (box[0] + box[2])) / 2 / width}%`;
    this.#ask.style.top = `${(100 * (low ? Math.max(box[1], height * 0.02) : box[3])) / height}%`;
    this.#ask.classList.toggle("above", low && box[1] / height > 0.2);
    this.#keepInside();
    this.#ask.querySelector("button").focus({ preventScroll: true });
  }

  #keepInside() {
    this.#ask.style.setProperty("--shift", "0px");
    const own = this.#ask.getBoundingClientRect();
    const room = this.#stage.parentElement.getBoundingClientRect();
    const shift = Math.max(room.left + 4 - own.left, 0) - Math.max(own.right - room.right + 4, 0);
    this.#ask.style.setProperty("--shift", `${shift}px`);
  }

  #walk(event) {
    const step = (event.key === "ArrowRight") - (event.key === "ArrowLeft");
    if (!step) return;
    const buttons = [...this.#ask.children];
    buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus();
  }

  #chosen(task) {
    const box = clipped(this.#asked, this.#size);
    this.closeAsk();
    this.onAsk(task, box);
  }
}

function placeTag(tag, place) {
  tag.classList.toggle("inside", place === "inside");
  tag.classList.toggle("below", place === "below");
  tag.style.top = place === "below" ? tag.low : tag.high;
  return tag.getBoundingClientRect();
}

const overlap = (one, other) =>
  one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;

const area = ({ box: [x0, y0, x1, y1] }) => (x1 - x0) * (y1 - y0);

/** The box with two decimals, inside the image. */
function clipped([x0, y0, x1, y1], [width, height]) {
  const round = (side, most) => Math.min(Math.max(Math.round(side * 100) / 100, 0), most);
  return { x0: round(x0, width), y0: round(y0, height), x1: round(x1, width), y1: round(y1, height) };
}
