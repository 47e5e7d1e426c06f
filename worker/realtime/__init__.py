"""The client of the real-time service: protocol, session state, pacing and limits."""
