"""The tracker folds the log into PostgreSQL: the read model that people's questions are answered from."""
