"""The command `stt-batch run`."""
