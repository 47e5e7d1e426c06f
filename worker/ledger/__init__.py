"""The ledger: jobs, leases, sessions and events in Redis or Valkey. Scripts in `lua/` make each step atomic."""
