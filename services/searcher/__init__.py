"""The searcher: which trials exist, and when an experiment is over."""
