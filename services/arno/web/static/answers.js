// The answers beside the picture: one card a task, one row a region.
import { byId, drawn, element } from "./dom.js";
import { secondsOf, textOf } from "./regions.js";
import { titleOf } from "./tasks.js";

const PARTS = [["queue", "waiting"], ["prepare", "preparing"], ["encode", "encoding"], ["decode", "decoding"]];
const ENDS = { LENGTH: "cut: token limit", LOOP: "cut: it repeated itself", DEADLINE: "cut: out of time", CANCELLED: "cancelled", ERROR: "failed" };

/** What stands for a task until it has ended. */
export function waitingCard(task) {
  return element("article", { class: "card answer waiting", "aria-busy": "true" },
    element("header", {}, element("h3", {}, titleOf(task.task), inputOf(task))),
    element("div", { class: "shimmer" }), element("div", { class: "shimmer short" }));
}

/** The card of a result; `hooks` are `hover(id)`, `toggle(shown)`, `choose(id)`. */
export function answerCard(result, regions, hooks) {
  const card = element("article", { class: "card answer" }, head(result, regions, hooks));
  if (result.error) {
    card.classList.add("failed");
    card.append(element("p", { class: "fault" }, element("b", {}, result.error.reason), ` ${result.error.message ?? ""}`));
    return card;
  }
  const text = textOf(result);
  if (text) card.append(element("p", { class: "text" }, text));
  if (regions.length && !(text && regions.every((one) => one.label === text))) card.append(rowsOf(regions, hooks));
  if (!text && !regions.length) card.append(element("p", { class: "none" }, "Nothing found."));
  card.append(element("p", { class: "hidden-count", hidden: true }), facts(result.answer));
  return card;
}

/** Hide the rows below the threshold, and say how many. */
export function applyThreshold(card, regions, shown) {
  const hidden = regions.filter((region) => !shown(region));
  for (const row of card.querySelectorAll("[data-region]")) {
    row.hidden = hidden.some((region) => region.id === row.dataset.region);
  }
  const count = card.querySelector(".hidden-count");
  if (!count) return;
  count.hidden = !hidden.length;
  count.textContent = `${hidden.length} below the least score`;
}

export function highlightRow(id) {
  for (const row of byId("answers").querySelectorAll("[data-region]")) row.classList.toggle("lit", row.dataset.region === id);
}

function head(result, regions, hooks) {
  const reason = result.answer?.finishReason?.replace("FINISH_REASON_", "");
  const header = element("header", {}, element("h3", {}, titleOf(result.task), inputOf(result)));
  if (reason && reason !== "STOP") header.append(element("span", { class: "chip warn" }, ENDS[reason] ?? reason));
  if (regions.length) {
    header.append(element("span", { class: "count" }, String(regions.length)),
      element("button", {
        type: "button", class: "plain eye", "aria-pressed": "true", "aria-label": `Show ${titleOf(result.task)} on the picture`,
        onclick: ({ currentTarget }) => {
          const shown = currentTarget.getAttribute("aria-pressed") !== "true";
          currentTarget.setAttribute("aria-pressed", shown);
          hooks.toggle(shown);
        },
      }, eye()));
  }
  return header;
}

const eye = () => drawn("svg", { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": true },
  drawn("path", { d: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12z" }), drawn("circle", { cx: 12, cy: 12, r: 3 }), drawn("path", { class: "slash", d: "M4 4l16 16" }));

function inputOf({ text, region }) {
  if (text) return element("q", {}, text);
  if (!region) return "";
  const { x0 = 0, y0 = 0, x1 = 0, y1 = 0 } = region;
  return element("small", {}, ` ${[x0, y0, x1, y1].map(Math.round).join(", ")}`);
}

function rowsOf(regions, hooks) {
  return element("ul", { class: "rows" }, ...regions.map((region) => {
    const mark = element("span", { class: "mark" });
    mark.style.setProperty("--colour", region.colour);
    const bar = element("span", { class: "score", "aria-hidden": "true" }, element("span"));
    bar.firstChild.style.width = `${100 * (region.score ?? 0)}%`;
    return element("li", {
      "data-region": region.id, onpointerenter: () => hooks.hover(region.id), onpointerleave: () => hooks.hover(null),
    },
    mark, element("span", { class: "label" }, region.label || "region"),
    element("span", { class: "place mono" }, region.box.map(Math.round).join(", ")),
    region.score === null ? "" : bar,
    region.score === null ? "" : element("span", { class: "number", title: scoresOf(region) }, region.score.toFixed(2)));
  }));
}

const scoresOf = ({ labelScore, locationScore }) =>
  `label ${labelScore?.toFixed(3) ?? "–"}, place ${locationScore?.toFixed(3) ?? "–"}`;

function facts(answer) {
  const times = PARTS.map(([name, title]) => [title, secondsOf(answer.timings?.[name])]);
  const total = times.reduce((sum, [, seconds]) => sum + seconds, 0);
  const bar = element("span", { class: "times", role: "img", "aria-label": times.map(([title, s]) => `${title} ${milliseconds(s)}`).join(", ") });
  for (const [title, seconds] of times) {
    const part = element("span", { class: title, title: `${title} ${milliseconds(seconds)}` });
    part.style.flexGrow = seconds * 1000; // a sum below 1 would not fill the bar
    bar.append(part);
  }
  return element("details", {},
    element("summary", {}, element("span", {}, milliseconds(total)), bar, element("span", {}, `${answer.tokenCount ?? 0} tokens`)),
    element("dl", {},
      ...times.flatMap(([title, seconds]) => [element("dt", {}, title), element("dd", {}, milliseconds(seconds))]),
      element("dt", {}, "ended"), element("dd", {}, (answer.finishReason ?? "").replace("FINISH_REASON_", "").toLowerCase()),
      element("dt", {}, "probability of all tokens"), element("dd", {}, (answer.score ?? 0).toFixed(3))),
    element("pre", { class: "raw", tabindex: 0, "aria-label": "Raw tokens" }, answer.rawText || "(no tokens)"));
}

const milliseconds = (seconds) => (seconds < 10 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
