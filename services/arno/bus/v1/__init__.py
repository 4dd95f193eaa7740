"""Generated from protos/arno/bus/v1; never edited."""
