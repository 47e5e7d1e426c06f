"""The work of a worker process beside its jobs: intake, reaper, health and metrics."""
