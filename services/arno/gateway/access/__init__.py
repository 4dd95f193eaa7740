"""Who may call, encrypted how, and how much of the gateway each tenant may take.

Certificates and API keys are read from files and read again when the files change, so that neither
is ever rotated by a restart. The rest of the gateway sees a `Caller` and asks `Gatekeeper` and
`TenantQuotas`; it knows nothing of keys, headers or files. docs/security.md is the page for people.
"""
