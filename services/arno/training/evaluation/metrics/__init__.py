"""One measure a module, each with its definition and source; pure, and checked in tests.

They know answers and their parts (`arno.vocabulary`), and nothing of models, files or runs. Every
figure lies between 0 and 1 and higher is better, but for CIDEr (0 to 10) and the character error
rate (from 0, lower is better).
"""
