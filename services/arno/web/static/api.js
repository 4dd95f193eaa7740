// Talks to the server that this page came from, and to no other.

/** A refusal: RFC 9457 problem details, or one of ours where the server was not reached. */
export class Problem extends Error {
  constructor(details) {
    super(details.detail ?? details.title);
    this.details = details;
  }
}

let key = sessionStorage.getItem("arno-key") ?? "";

export function setKey(value) {
  key = value;
  if (value) sessionStorage.setItem("arno-key", value);
  else sessionStorage.removeItem("arno-key");
}

export const hasKey = () => key !== "";

async function send(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({
      title: "The server does not answer",
      detail: "It may have stopped, or have refused a file that is too large while it was sent.",
      retryable: true,
    });
  }
  if (!response.ok) throw new Problem(await detailsOf(response));
  return response;
}

async function detailsOf(response) {
  try {
    return await response.json();
  } catch {
    return { title: `Status ${response.status}`, detail: response.statusText, status: response.status };
  }
}

export const about = async () => (await send("/about.json")).json();

/** The names of the cameras that can be watched. */
export const cameras = async () => (await (await send("/v1/cameras")).json()).sources;

/** The motion JPEG of a camera, as a stream of bytes. */
export const camera = async (name) => (await send(`/v1/cameras/${encodeURIComponent(name)}`)).body;

function formOf(image, tasks, lane) {
  const form = new FormData();
  form.append("image", image.blob, image.name);
  for (const task of tasks) form.append("task", JSON.stringify(task));
  form.append("lane", lane);
  return form;
}

/** Run tasks on an image; yield [event, data] as each task ends. */
export async function* inferEvents(image, tasks, signal) {
  const response = await send("/v1/infer", {
    method: "POST", body: formOf(image, tasks, "interactive"), signal, headers: { Accept: "text/event-stream" },
  });
  for await (const [name, data] of eventsOf(response.body)) {
    if (name === "error") throw new Problem(data);
    yield [name, data];
  }
}

/** Run tasks on a frame of a video; return the whole answer. */
export async function inferFrame(image, tasks, signal) {
  return (await send("/v1/infer", { method: "POST", body: formOf(image, tasks, "stream"), signal })).json();
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const blocks = waiting.split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const data = lines.find((line) => line.startsWith("data: "));
      if (!data) continue;
      const name = lines.find((line) => line.startsWith("event: "));
      yield [name ? name.slice(7) : "message", JSON.parse(data.slice(6))];
    }
  }
}
