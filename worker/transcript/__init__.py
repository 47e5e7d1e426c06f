"""The transcript: assembly from commits, merging, quality and the document."""
