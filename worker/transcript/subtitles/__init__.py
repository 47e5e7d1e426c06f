"""Subtitles: cues, their lines, and the rules of Chinese text."""
