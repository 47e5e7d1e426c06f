"""The self-hosted real-time service."""
