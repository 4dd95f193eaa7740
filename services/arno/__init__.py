"""Arno: production serving of Florence-2.

``arno.Client`` and ``arno.AsyncClient`` are the Python SDK; ``arno --help`` is the command line.
The rest of the package is the
server: see ARCHITECTURE.md for the map.
"""

__version__ = "0.1.0"
