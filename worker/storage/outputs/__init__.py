"""Outputs: transcript files in folders and object stores."""
