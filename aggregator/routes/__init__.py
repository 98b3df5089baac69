"""The HTTP routes of the aggregator: feature access, usage queries and corrections."""
