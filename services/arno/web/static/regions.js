// Reads answers: the API's JSON leaves out what is zero or empty.

const COLOURS = ["#e5484d", "#0b84ff", "#1f9d61", "#e8590c", "#8e4ec6", "#d6336c", "#0f8f8f", "#a86f00"];

const point = ({ x = 0, y = 0 }) => [x, y];

/** The outlines of a region: lists of [x, y], in pixels of the image. */
function outlinesOf(region) {
  if (region.quadBox) return [region.quadBox.points.map(point)];
  if (region.polygons) return region.polygons.polygons.map((one) => one.points.map(point));
  const { x0 = 0, y0 = 0, x1 = 0, y1 = 0 } = region.box ?? {};
  return [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]];
}

/** The upright box around outlines: [x0, y0, x1, y1]. */
export function boxOf(outlines) {
  const xs = outlines.flat().map(([x]) => x);
  const ys = outlines.flat().map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/** The regions of a task's result, each with its label, score, outlines and colour. */
export function regionsOf(result, runId, colours) {
  const answer = result.answer;
  if (!answer) return [];
  const value = answer.detection ?? answer.ocr ?? answer.segmentation ?? answer.text ?? {};
  const found = answer.grounding
    ? (answer.grounding.phrases ?? []).flatMap((phrase) => phrase.regions ?? [])
    : value.regions ?? [];
  return found.map((region, index) => {
    const outlines = outlinesOf(region);
    // The region that was asked about shows the answer; a mask without a label, what was asked for.
    const label = region.label || (answer.text?.text ?? result.text ?? "") || (answer.segmentation ? "outline" : "");
    return {
      id: `${runId}-${result.id}-${index}`, label, score: region.score ?? null, outlines,
      box: boxOf(outlines), labelScore: region.labelScore, locationScore: region.locationScore,
      shape: region.polygons ? "mask" : region.quadBox ? "quad" : "box",
      colour: colours.of(label || `${result.id}`),
    };
  });
}

/** Gives each label of a picture a colour, the same for all its answers. */
export class Colours {
  #given = new Map();

  of(label) {
    const name = label.toLowerCase();
    if (!this.#given.has(name)) this.#given.set(name, COLOURS[this.#given.size % COLOURS.length]);
    return this.#given.get(name);
  }
}

/** The text of an answer that is text. */
export const textOf = (result) => result.answer?.text?.text ?? null;

/** Seconds of a duration such as "0.159488586s". */
export const secondsOf = (text) => (text ? parseFloat(text) : 0);
