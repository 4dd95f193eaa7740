"""Authentication, encryption and the quotas of tenants.

Certificates and API keys are read from files and read again when the files change, so that a
rotation needs no restart. The rest of the gateway uses `Caller`, `Gatekeeper` and `TenantQuotas`,
never keys, headers or files. docs/security.md describes all of it for operators.
"""
