"""Audio sources: reading, planning and preparing frames for sessions."""
