"""The structure of audio file formats: headers, lengths and recognition by content."""
