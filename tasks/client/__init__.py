"""The producer API: submits, follows and controls jobs."""
