"""Judge a model: ask it questions whose answers are known, and measure what it says.

`questions` are taken from samples, an `answering.Answerer` answers them (`local`: the engine of
this process), `replies` keeps the answers, `metrics` holds one measure a module, `figures` says
which measures a task has, `run` does it all, `report` writes it down.
"""
