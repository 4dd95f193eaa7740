"""Generated from protos/arno/api/v1; never edited."""
