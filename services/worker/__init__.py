"""The agent of one machine: slots, processes, DeepSpeed, checkpoints, telemetry."""
