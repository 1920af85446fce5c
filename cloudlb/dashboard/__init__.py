"""The dashboard: pages for browsers, and the stream that keeps them up to date."""
