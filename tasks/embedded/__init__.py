"""The embedded stack of `stt-batch run`: Valkey, service and worker as child processes with a supervisor."""
