"""Bridges: images of a topic, or what its records refer to, through the gateway to a topic."""
