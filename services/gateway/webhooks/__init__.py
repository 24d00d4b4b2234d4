"""Webhooks: what happens is posted to addresses that administrators name."""
