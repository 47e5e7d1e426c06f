"""`stt-batch status --watch`: a live view of a queue, a batch, a job or a run."""
