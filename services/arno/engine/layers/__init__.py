"""Layers in the form that a processor or a GPU runs fastest."""
