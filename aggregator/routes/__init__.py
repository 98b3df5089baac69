"""The HTTP routes of the aggregator: feature access and usage queries."""
