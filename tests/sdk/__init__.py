"""Tests of the in-trial SDK."""
