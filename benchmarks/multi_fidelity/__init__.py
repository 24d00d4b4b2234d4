"""Recorded learning curves of a real network on real data, and how they were recorded."""
