"""Several worker processes under one command: `stt-batch worker --processes N`."""
