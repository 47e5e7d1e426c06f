"""Where a file holds speech, where it can be cut, and how it is divided into sections."""
