"""Before decoding: images prepared and encoded, each once, and prompts with them."""
