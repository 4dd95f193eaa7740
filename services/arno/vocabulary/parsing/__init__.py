"""From the tokens that a model wrote to typed answers; nothing outside needs more than `parse`."""
