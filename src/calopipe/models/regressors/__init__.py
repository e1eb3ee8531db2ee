"""Networks that read the incident energy off a shower."""
