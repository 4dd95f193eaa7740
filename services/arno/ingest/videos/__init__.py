"""Videos and cameras: decode, sample, send through a stream, track, write what comes back."""
