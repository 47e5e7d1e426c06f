"""Finds the speech in a file and the positions at which the file can be cut, and divides the file into sections."""
