"""The front door: Florence-2 in this process, which `arno` exports as `load`."""
