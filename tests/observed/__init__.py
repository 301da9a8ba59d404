"""A real Prometheus and Alertmanager with the shipped files, and a product that they observe."""
