"""One file a revision, numbered from 0001 without gaps: newer is greater."""
