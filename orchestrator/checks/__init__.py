"""What `ablate doctor` looks at: one file a subject, one small function a check."""
