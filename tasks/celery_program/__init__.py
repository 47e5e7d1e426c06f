"""Celery's worker program as this project uses it: its signals, its options and its remote control."""
