"""Readers that decode audio files with libsndfile and FFmpeg. They also correct files that these libraries would read
wrongly."""
