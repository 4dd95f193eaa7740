// A camera or a video file: frames are asked about as fast as answers come, and each answer is drawn
// on the frame that it is about.
import { inferFrame } from "./api.js";

const SIDE_PX_MAX = 960; // of a frame that is sent
const IN_FLIGHT_MAX = 2; // one is encoded while the other is decoded
const QUALITY = 0.85;
const RATE_MS = 3000; // over which answers are counted

export class Live {
  #video = document.createElement("video");
  #stopping = new AbortController();
  #shown = -1;
  #answered = [];

  /** `onFrame(bitmap, answer, figures)` is called for each answer, `onEnd(error)` at the end. */
  constructor({ tasks, onFrame, onEnd }) {
    Object.assign(this, { tasks, onFrame, onEnd });
    this.#video.muted = true;
    this.#video.playsInline = true;
  }

  /** Begin with a camera's stream or a file's URL. */
  async start(source) {
    if (source instanceof MediaStream) this.#video.srcObject = source;
    else this.#video.src = source;
    await this.#video.play();
    this.#video.addEventListener("ended", () => this.stop());
    let sequence = 0;
    const lanes = Array.from({ length: IN_FLIGHT_MAX }, async () => {
      while (!this.#stopping.signal.aborted) await this.#ask(sequence++);
    });
    Promise.all(lanes).then(() => this.onEnd(null), (error) => {
      const stopped = this.#stopping.signal.aborted;
      this.stop();
      this.onEnd(stopped ? null : error);
    });
  }

  stop() {
    this.#stopping.abort();
    this.#video.pause();
    this.#video.srcObject?.getTracks().forEach((track) => track.stop());
    URL.revokeObjectURL(this.#video.src);
  }

  async #ask(sequence) {
    const began = performance.now();
    const { videoWidth, videoHeight } = this.#video;
    const scale = Math.min(1, SIDE_PX_MAX / Math.max(videoWidth, videoHeight));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(videoWidth * scale);
    canvas.height = Math.round(videoHeight * scale);
    canvas.getContext("2d").drawImage(this.#video, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
    const image = { blob, name: `frame-${sequence}.jpg` };
    const answer = await inferFrame(image, this.tasks(), this.#stopping.signal);
    // An answer that was overtaken is about a frame that is gone.
    if (sequence < this.#shown || this.#stopping.signal.aborted) return;
    this.#shown = sequence;
    const now = performance.now();
    this.#answered = [...this.#answered.filter((at) => now - at < RATE_MS), now];
    const [first] = this.#answered;
    const rate = now > first ? (1000 * (this.#answered.length - 1)) / (now - first) : 0;
    this.onFrame({ canvas, image }, answer, { rate, delay: now - began });
  }
}
