"""What `ops serve` mounts: one noun a file. A sidecar that is switched off is not mounted."""
