"""Tests of the web page, in a real browser against the running platform."""
