"""Who is told of an alert where no Alertmanager runs."""
