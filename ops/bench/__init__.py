"""`python -m ops bench`: what callers hear, measured. Start reading at `commands.py`.

`rows` is the matrix of faults; `stage` places calls against stand-ins for the providers; `judge`
says what was heard in one; `stock` is the agent beside ours; `show` prints and keeps the figures.
"""
