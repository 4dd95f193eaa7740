"""The data engine: makes data sets of images, by labels that exist and by models that annotate.

Uses the training's data and the client; what a data set is belongs to `arno.dataset`.
"""
