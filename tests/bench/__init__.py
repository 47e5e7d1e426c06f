"""The benchmark: CPU time, memory and latency. `python -m tests.bench [--short] [--json FILE]`.

Each figure is measured in this run on this machine. The service is a sink: another process that only counts the
received audio. CPU time is that of a whole process, in CPU seconds per hour of audio (s/h). Two figures that are
compared are measured alternately, and the median of their ratios is reported. So other load on the machine does not
favour one of them.
"""
