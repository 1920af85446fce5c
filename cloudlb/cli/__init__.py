"""The command `cloudlb`: a deployment's making, and the API for people."""
