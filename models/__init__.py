"""Recipes of models that Arno bundles. They use the package `arno`; nothing of it uses them."""
