"""The log and the health file of a process."""
