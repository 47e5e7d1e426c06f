"""The command `stt-batch watch`."""
