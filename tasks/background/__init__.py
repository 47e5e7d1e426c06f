"""The background tasks of a worker process: intake, reaper, health and metrics."""
