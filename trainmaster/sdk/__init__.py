"""The in-trial SDK: what runs inside the user's training process. It needs msgpack, and torch only when it is used."""
