"""The contracts between the services: events, the log, the experiment file, the stores."""
