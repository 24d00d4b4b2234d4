"""Tests of the tm command."""
