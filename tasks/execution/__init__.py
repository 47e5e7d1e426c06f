"""Running jobs in a worker process: process lifecycle, message handler, attempts, retries and leases."""
