"""Batches: manifests, estimates and summaries."""
