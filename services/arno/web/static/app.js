// Puts the page together: what is chosen, what is asked, what is shown.
import { answerCard, applyThreshold, highlightRow, waitingCard } from "./answers.js";
import { about, hasKey, inferEvents, Problem, setKey } from "./api.js";
import { byId, element } from "./dom.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { Colours, regionsOf } from "./regions.js";
import { LANGUAGES } from "./snippets.js";
import { SIDE_PX_MAX, Stage } from "./stage.js";
import { FIRST_CHOICE, GROUPS, titleOf, WORD_TASKS } from "./tasks.js";

let server = { gateway: "127.0.0.1:50051", bodyBytesMax: Infinity };
let entry = null; // the picture that is shown, with its answers
const running = new Set(); // the AbortControllers of the requests under way
let live = null;
let lastAsked = null; // the tasks of the newest request, for "Copy as code"
let runCount = 0;

const stage = new Stage({ onAsk: (task, region) => run([{ task, region }]), onHover: (id) => hover(id) });
const history = new History((chosen) => open(chosen));

// ---------------------------------------------------------------- what is shown

const threshold = () => Number(byId("threshold").value);
const aboveThreshold = (region) => region.score === null || region.score >= threshold();

function shownRegions() {
  return entry.answers.filter((one) => one.shown).flatMap((one) => one.regions.filter(aboveThreshold));
}

function redraw() {
  stage.draw(shownRegions());
  for (const { card, regions } of entry.answers) applyThreshold(card, regions, aboveThreshold);
  byId("threshold-row").hidden = !entry.answers.some(({ regions }) => regions.some(({ score }) => score !== null));
}

function hover(id) {
  stage.highlight(id);
  highlightRow(id);
}

function say(text) { byId("status").textContent = text; }

function addAnswer(result, runId) {
  const regions = regionsOf(result, runId, entry.colours);
  const answer = { result, regions, shown: true };
  answer.card = answerCard(result, regions, { hover, toggle: (shown) => { answer.shown = shown; redraw(); } });
  entry.answers.push(answer);
  redraw();
  const found = regions.length ? `${regions.length} region${regions.length === 1 ? "" : "s"}: ${regions.slice(0, 5).map(({ label }) => label).join(", ")}` : result.answer?.text?.text;
  say(`${titleOf(result.task)}: ${result.error ? `failed, ${result.error.message}` : found || "nothing found"}`);
  return answer.card;
}

function showProblem(error, about = "") {
  const place = byId("problem");
  const details = error instanceof Problem ? error.details : { title: "The page failed", detail: String(error) };
  if (!(error instanceof Problem)) console.error(error);
  const title = [about, details.title ?? "The request failed"].filter(Boolean).join(": ");
  place.replaceChildren(element("b", {}, title), element("p", {}, details.detail ?? ""));
  if (details.reason) place.append(element("code", {}, details.reason));
  if (details.status === 401) place.append(element("button", { type: "button", onclick: askForKey }, "Enter an API key"));
  else if (details.retryable) place.append(element("button", { type: "button", onclick: () => lastAsked && run(lastAsked) }, "Try again"));
  place.hidden = false;
}

const hideProblem = () => { byId("problem").hidden = true; };

function enable() {
  const ready = entry !== null && live === null;
  byId("run").disabled = !ready;
  byId("find").disabled = !ready;
  byId("draw").disabled = !ready;
  byId("copy-open").disabled = lastAsked === null;
  byId("stop").hidden = !running.size;
}

// ---------------------------------------------------------------- pictures

async function take(file, name = file.name || "image.png") {
  hideProblem();
  stopLive();
  stopAll();
  if (file.size > server.bodyBytesMax) {
    const detail = `${name} has ${megabytes(file.size)}; this server takes ${megabytes(server.bodyBytesMax)} (web_body_bytes_max).`;
    return showProblem(new Problem({ title: "The file is too large", detail }));
  }
  const bitmap = await createImageBitmap(file).catch(() => null);
  const [width, height] = [bitmap?.width ?? 4, bitmap?.height ?? 3];
  begin({ blob: file, name }, await reduced(bitmap), width, height);
  await run(chosenTasks());
}

/** A picture no larger than it is shown: the history keeps it, and one of 50 million pixels takes 200 MB. */
async function reduced(bitmap) {
  const scale = bitmap ? SIDE_PX_MAX / Math.max(bitmap.width, bitmap.height) : 1;
  if (scale >= 1) return bitmap;
  const [resizeWidth, resizeHeight] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const small = await createImageBitmap(bitmap, { resizeWidth, resizeHeight, resizeQuality: "high" });
  bitmap.close();
  return small;
}

const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function begin(image, source, width, height) {
  entry = { image, source, width, height, answers: [], colours: new Colours() };
  history.add(entry, source);
  show();
}

function show() {
  byId("empty").hidden = true;
  byId("hint").hidden = false;
  byId("no-picture").hidden = true;
  stage.asking = true;
  stage.setDrawing(false);
  byId("draw").setAttribute("aria-pressed", "false");
  stage.show(entry.source, entry.width, entry.height);
  stage.describe(`The picture ${entry.image.name}, ${entry.width} by ${entry.height} pixels`);
  stage.closeAsk();
  byId("answers").replaceChildren(...entry.answers.map(({ card }) => card).reverse());
  redraw();
  enable();
}

function open(chosen) {
  stopLive();
  stopAll();
  hideProblem();
  entry = chosen;
  lastAsked = chosen.asked ?? lastAsked;
  history.mark(entry);
  show();
}

/** Go back from a file that is no image. */
function leave() {
  const before = history.remove(entry);
  if (before) return open(before);
  entry = null;
  stage.hide();
  byId("empty").hidden = false;
  byId("hint").hidden = true;
  byId("answers").replaceChildren();
  enable();
}

// ---------------------------------------------------------------- questions

const chosenTasks = () =>
  [...byId("chips").querySelectorAll("input:checked")].map(({ value }) => ({ task: value }));

async function run(tasks) {
  if (!entry || !tasks.length) return;
  hideProblem();
  const own = new AbortController();
  running.add(own);
  const asked = entry;
  const runId = ++runCount;
  lastAsked = asked.asked = tasks;
  const waiting = new Map(tasks.map((task, index) => [String(index), waitingCard(task)]));
  byId("answers").prepend(...waiting.values());
  enable();
  try {
    for await (const [name, data] of inferEvents(asked.image, tasks, own.signal)) {
      if (asked !== entry) continue;
      if (name === "task") waiting.get(data.id)?.replaceWith(addAnswer(data, runId));
      if (name === "done") told(data, asked, runId, waiting);
    }
  } catch (error) {
    if (error.name !== "AbortError" && asked === entry) {
      if (!asked.source && error.details?.reason === "INVALID_IMAGE") leave();
      showProblem(error, asked.image.name);
    }
  } finally {
    for (const card of waiting.values()) card.remove();
    running.delete(own);
    enable();
  }
}

function stopAll() {
  for (const each of running) each.abort();
}

/** Read the whole answer: the model, the size of a picture that the browser cannot show, and tasks that no event told of. */
function told(answer, asked, runId, waiting) {
  if (answer.model) {
    byId("model").textContent = `${answer.model.name} · ${answer.model.dtype}`;
    byId("model").title = `fingerprint ${answer.model.fingerprint}`;
    byId("model").hidden = false;
  }
  byId("no-picture").hidden = Boolean(asked.source);
  if (!asked.source && answer.image && asked.width !== answer.image.widthPx) {
    Object.assign(asked, { width: answer.image.widthPx, height: answer.image.heightPx });
    stage.show(null, asked.width, asked.height);
    redraw();
  }
  for (const result of answer.results ?? []) {
    const card = waiting.get(result.id);
    if (card?.isConnected) card.replaceWith(addAnswer(result, runId));
  }
}

// ---------------------------------------------------------------- live

async function goLive(source, title) {
  stopLive();
  stopAll();
  hideProblem();
  entry = null;
  byId("empty").hidden = true;
  byId("answers").replaceChildren();
  stage.asking = false;
  stage.closeAsk();
  const colours = new Colours();
  const own = (live = new Live({ tasks: chosenTasks, onFrame, onEnd }));
  let newest = null;
  byId("camera").setAttribute("aria-pressed", String(source instanceof MediaStream));
  enable();

  function onFrame(frame, answer, { rate, delay }) {
    newest = frame;
    stage.show(frame.canvas, frame.canvas.width, frame.canvas.height);
    const answers = (answer.results ?? []).map((result) => ({ result, regions: regionsOf(result, "live", colours) }));
    stage.draw(answers.flatMap(({ regions }) => regions.filter(aboveThreshold)));
    byId("threshold-row").hidden = false;
    const open = [...byId("answers").querySelectorAll("details")].map((one) => one.open);
    const cards = answers.map(({ result, regions }) => answerCard(result, regions, { hover, toggle: () => {} }));
    cards.forEach((card, index) => {
      card.querySelector(".eye")?.remove();
      const details = card.querySelector("details");
      if (details) details.open = open[index] ?? false;
    });
    byId("answers").replaceChildren(...cards);
    byId("rate").hidden = false;
    byId("rate").textContent = `${rate.toFixed(1)} frames/s · ${Math.round(delay)} ms`;
    byId("freeze").hidden = false;
    stage.describe(`A frame of ${title}`);
  }

  function onEnd(error) {
    if (live === own) stopLive();
    if (error) showProblem(error);
    say(`${title} ended`);
  }

  byId("freeze").onclick = () => {
    const { canvas, image } = newest;
    stopLive();
    begin({ ...image, name: image.name }, canvas, canvas.width, canvas.height);
    run(chosenTasks());
  };
  try {
    await own.start(source);
    say(`${title}: boxes are drawn on the frames that they are about`);
  } catch (error) {
    stopLive();
    showProblem(new Problem({ title: `${title} cannot be played`, detail: error.message }));
  }
}

function stopLive() {
  live?.stop();
  live = null;
  byId("camera").setAttribute("aria-pressed", "false");
  byId("freeze").hidden = true;
  byId("rate").hidden = true;
  enable();
}

async function toggleCamera() {
  if (live) return stopLive();
  try {
    const video = { facingMode: "environment", width: { ideal: 1280 } };
    await goLive(await navigator.mediaDevices.getUserMedia({ video }), "The camera");
  } catch (error) {
    const detail = navigator.mediaDevices ? error.message : "Browsers give a page the camera only over HTTPS or on localhost.";
    showProblem(new Problem({ title: "There is no camera", detail }));
  }
}

// ---------------------------------------------------------------- dialogs

function askForKey() {
  byId("key-dialog").showModal();
  byId("key").select();
}

function showCode(language) {
  byId("copy-text").textContent = LANGUAGES[language](entry?.image.name ?? "photo.jpg", lastAsked, { ...server, keyed: hasKey() });
  for (const tab of byId("copy-tabs").children) {
    tab.setAttribute("aria-checked", String(tab.textContent === language));
    tab.tabIndex = tab.textContent === language ? 0 : -1;
  }
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText(byId("copy-text").textContent);
    byId("copy-now").textContent = "Copied";
    setTimeout(() => { byId("copy-now").textContent = "Copy"; }, 1500);
  } catch {
    // No permission: the text is selected, so that the keys for copying work.
    getSelection().selectAllChildren(byId("copy-text"));
  }
}

// ---------------------------------------------------------------- wiring

for (const [title, tasks] of GROUPS) {
  byId("chips").append(element("div", { class: "chips", role: "group", "aria-label": title }, element("span", { class: "group" }, title),
    element("div", { class: "choices" }, ...tasks.map(([task, name]) => element("label", { class: "choice" },
      element("input", { type: "checkbox", value: task, checked: FIRST_CHOICE.has(task) }), element("span", {}, name))))));
}
byId("phrase-task").append(...WORD_TASKS.map(([task, name]) => element("option", { value: task }, name)));
byId("copy-tabs").append(...Object.keys(LANGUAGES).map((language) =>
  element("button", { type: "button", role: "radio", onclick: () => showCode(language) }, language)));
byId("copy-tabs").addEventListener("keydown", ({ key, target }) => {
  const step = (key === "ArrowRight") - (key === "ArrowLeft");
  const tabs = [...byId("copy-tabs").children];
  if (!step) return;
  const next = tabs.at((tabs.indexOf(target) + step) % tabs.length);
  next.focus();
  showCode(next.textContent);
});

const on = (id, event, listener) => byId(id).addEventListener(event, listener);
on("choose", "click", () => byId("file").click());
on("choose-again", "click", () => byId("file").click());
on("photo", "click", () => byId("photo-file").click());
on("video", "click", () => byId("video-file").click());
on("camera", "click", toggleCamera);
on("example", "click", async () => take(await (await fetch("/static/example.webp")).blob(), "example.webp"));
for (const id of ["file", "photo-file"]) {
  on(id, "change", ({ target }) => { if (target.files[0]) take(target.files[0]); target.value = ""; });
}
on("video-file", "change", ({ target }) => { if (target.files[0]) goLive(URL.createObjectURL(target.files[0]), target.files[0].name); target.value = ""; });
on("question", "submit", (event) => { event.preventDefault(); run(chosenTasks()); });
on("words", "submit", (event) => {
  event.preventDefault();
  const text = byId("phrase").value.trim();
  if (text) run([{ task: byId("phrase-task").value, text }]);
});
on("stop", "click", stopAll);
on("threshold", "input", () => { byId("threshold-value").textContent = threshold().toFixed(2); if (entry) redraw(); });
on("draw", "click", ({ currentTarget }) => {
  const pressed = currentTarget.getAttribute("aria-pressed") !== "true";
  currentTarget.setAttribute("aria-pressed", String(pressed));
  stage.setDrawing(pressed);
});
on("copy-open", "click", () => { showCode("Python"); byId("copy-dialog").showModal(); });
on("copy-now", "click", copyCode);
on("key-open", "click", askForKey);
on("key-form", "submit", () => { setKey(byId("key").value.trim()); markKey(); hideProblem(); if (entry) run(lastAsked ?? chosenTasks()); });

const markKey = () => byId("key-open").classList.toggle("set", hasKey());
markKey();

let depth = 0;
const dropping = (step) => { depth = Math.max(0, depth + step); byId("dropping").hidden = depth === 0; };
addEventListener("dragenter", (event) => { event.preventDefault(); dropping(1); });
addEventListener("dragleave", () => dropping(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  depth = 0;
  dropping(0);
  const file = event.dataTransfer.files[0];
  if (file) file.type.startsWith("video/") ? goLive(URL.createObjectURL(file), file.name) : take(file);
});
addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (file) take(file, file.name || "pasted.png");
});

enable();
about().then((found) => { server = found; byId("cameras-link").hidden = !found.cameras; }, showProblem);
