"""What it costs: `python -m tests.bench [--short] [--json FILE]`.

Every figure is measured in this run, on this machine, against a sink in another process that does next to nothing.
CPU time is what the operating system counts for a whole process, as CPU-seconds per hour of audio (s/h); what is
compared is measured in turns, and the median of the ratios is told, so that a busy machine blurs but does not tilt it.
"""
