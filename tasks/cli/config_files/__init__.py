"""The files `stt-batch.toml` of the user and of a project, which set defaults for settings and options."""
