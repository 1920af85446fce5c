"""What a server counts and measures of itself, and the pages that show it to Prometheus and to probes."""
