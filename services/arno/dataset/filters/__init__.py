"""Rules that drop annotations: each counted, none silent.

`settings` holds what each rule takes, `text_rules` and `place_rules` judge columns of numbers, and
`judge` applies them to records. Nothing is imported here: settings need no numpy.
"""
