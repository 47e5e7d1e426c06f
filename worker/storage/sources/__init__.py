"""Sources: local files, downloads and their identity."""
