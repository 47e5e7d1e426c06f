"""The benchmark: CPU time, memory and latency. `python -m tests.bench [--short] [--json FILE]`.

Each figure is measured in this run on this machine, against a sink: a service in another process that only counts. CPU
time is that of a whole process, in CPU seconds per hour of audio (s/h). Compared figures are measured alternately, and
the median of their ratios is reported, so that other load on the machine does not favour one side.
"""
