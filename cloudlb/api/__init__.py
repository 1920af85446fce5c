"""CloudStack's HTTP API: signed queries to /client/api, answered from one table of commands."""
