"""The management servers among themselves."""
