"""Tests of the searcher."""
