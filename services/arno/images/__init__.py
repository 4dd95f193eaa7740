"""Image files of strangers: which are taken, how they are read, and what users may give."""
