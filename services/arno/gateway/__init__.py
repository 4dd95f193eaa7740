"""The gateway: gRPC in, jobs out to the bus, results back.

It validates, admits, claims, publishes and waits; it never looks at a pixel and never imports
torch. One asyncio loop does everything.
"""
