"""The five services. They share contracts (shared) and meet in events; none imports another."""
