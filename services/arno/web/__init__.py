"""The page, HTTP/JSON and an OpenAI-compatible API: a plain client of the gateway, without torch.

Nothing here knows of keys, quotas or models: a caller's API key goes on to the gateway, and what
the gateway answers or refuses comes back with the same reasons.
"""
