"""The public API as Python modules; see ``arno.client`` for the comfortable way to use it."""
