"""Running jobs in a worker process: process lifecycle, runner, attempts, retries and leases."""
