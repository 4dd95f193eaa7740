"""`arno train`: teach a Florence-2 from samples, whole or by LoRA.

One objective for all tasks: cross-entropy on the tokens of the answer, averaged over every answer
token of a step, however the step is cut into micro-batches and processes. What a step does depends
on the settings, the weights and the step's number alone, so that a killed run goes on as if nothing
had happened.
"""
