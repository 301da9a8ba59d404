"""What operators run beside the calls: `python -m ops --help`."""
