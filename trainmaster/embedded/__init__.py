"""The whole platform on one machine: real servers and services as child processes in one data directory."""
