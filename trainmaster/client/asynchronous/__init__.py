"""The async client, made of the sync one by trainmaster.client.generate."""
