"""Readers that decode audio files, through libsndfile and FFmpeg, and repair what they read wrongly."""
