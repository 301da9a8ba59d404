"""What is wrong, and the steps that mend it."""
