"""What every process needs and none owns: settings, logs, health, traces."""
