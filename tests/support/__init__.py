"""What the tests share: real servers, a running platform, waiting for a condition."""
