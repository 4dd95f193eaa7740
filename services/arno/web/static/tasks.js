// What can be asked, in the words of the page.

/** Tasks that need nothing but the image, in groups. */
export const GROUPS = [
  ["Find", [
    ["OD", "Objects"],
    ["DENSE_REGION_CAPTION", "Described regions"],
    ["REGION_PROPOSAL", "Anything"],
  ]],
  ["Describe", [
    ["CAPTION", "Caption"],
    ["DETAILED_CAPTION", "Detailed"],
    ["MORE_DETAILED_CAPTION", "Paragraph"],
  ]],
  ["Read", [
    ["OCR_WITH_REGION", "Text with places"],
    ["OCR", "Text"],
  ]],
];

export const FIRST_CHOICE = new Set(["OD", "CAPTION"]);

/** Tasks that take words. */
export const WORD_TASKS = [
  ["CAPTION_TO_PHRASE_GROUNDING", "Ground the phrase"],
  ["OPEN_VOCABULARY_DETECTION", "Detect"],
  ["REFERRING_EXPRESSION_SEGMENTATION", "Segment"],
  ["PROMPT", "Ask the model"],
];

/** Tasks that take a region. */
export const REGION_TASKS = [
  ["REGION_TO_CATEGORY", "What is it?"],
  ["REGION_TO_DESCRIPTION", "Describe"],
  ["REGION_TO_SEGMENTATION", "Outline"],
  ["REGION_TO_OCR", "Read"],
];

const TITLES = new Map([...GROUPS.flatMap(([, tasks]) => tasks), ...WORD_TASKS, ...REGION_TASKS]);

/** The title of a task, whose name may have the API's prefix. */
export const titleOf = (task) => TITLES.get(task.replace(/^TASK_/, "")) ?? task;
