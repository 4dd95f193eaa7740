"""Downstream heads on the vision encoder of a Florence-2: detection with masks, and segmentation.

A head is a folder with `config.json` (`HeadDescription`) and `model.safetensors`: the DaViT with
the layers above it, without the language model. `HeadEngine` answers with it as an engine does.
"""
