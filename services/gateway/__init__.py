"""The gateway: the HTTP API and the web page. It appends what people ask for and reads what became of it."""
