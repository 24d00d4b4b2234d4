"""Tests that start whole platforms."""
