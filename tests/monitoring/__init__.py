"""What the services show of themselves, and what is made of it."""
