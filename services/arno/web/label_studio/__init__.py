"""A backend of Label Studio: its projects get pre-annotations from a gateway.

label_config   reads a project's labeling configuration
fillers        which tasks fill which controls, and how their answers are written there
task_images    where the images of tasks come from, and from where none is taken
pending        predictions that come later than their request, and their way back
backend        the routes that Label Studio calls

Source of the protocol: `label_studio.ml.api_connector` and `label_studio.ml.models` of Label
Studio, and `label_studio_ml.api` of label-studio-ml-backend.
"""
