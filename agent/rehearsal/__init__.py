"""`call`: simulated calls into real job processes. Start reading at `rehearse.py`.

`rehearse` plays the callers and judges; `troupe` starts the worker as a process of its own, whose
inside is `stage`; `verdict` reads the record, `playbill` shows it all.
"""
