"""What a study file says: read, checked, every mistake with its line."""
