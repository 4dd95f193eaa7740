"""The page, HTTP/JSON, an OpenAI-compatible API and a backend of Label Studio, without torch.

A plain client of the gateway: nothing here checks keys or quotas. A caller's API key goes on to
the gateway, and what the gateway answers or refuses comes back with the same reasons.
"""
