"""The training stack, and `arno train`: fine-tune a Florence-2 on samples, whole or by LoRA.

`loop` does the steps of any run; `objective`, `schedule`, `batches`, `average` and `checkpoint` are
its parts, which a recipe may replace, and `log` its record. `fine_tune` puts them together for
`arno train`, with one objective for all tasks: cross-entropy on the tokens of the answer, averaged
over every answer token of a step, however the step is cut into micro-batches and processes.
"""
