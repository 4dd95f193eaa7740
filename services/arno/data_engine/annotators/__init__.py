"""What annotates images, each annotator a module; `annotator` is the port, and the simplest ones.

`arno.data_engine.annotation` runs them over a source.
"""
