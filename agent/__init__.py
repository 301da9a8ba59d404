"""One phone call, in the order in which it happens: start reading at `worker.py`, then `job.py`."""
