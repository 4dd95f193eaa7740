"""Video in, events out: decode, sample, send through a gateway's stream, write what comes back.

A plain client of the gateway; PyAV is imported only when a source is opened.
"""
