"""What the API answers with, as types: handlers return them, openapi.py describes them. One file per resource."""
