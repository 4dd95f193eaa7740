"""The measures of answers, each with its definition and source; pure, and checked in tests.

`texts` and `captions` measure words, `masks` and `detection` places, `regions` both together;
`matching` pairs regions. The measures depend on answers and their parts (`arno.vocabulary`), not on
models, files or runs. Every figure lies between 0 and 1 and higher is better, but for CIDEr (0 to
10) and the character error rate (from 0, lower is better).
"""
