"""Networks that make the showers of others better."""
