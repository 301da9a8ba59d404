"""Whether what the product needs is there: checks by real I/O, a monitor, one report."""
