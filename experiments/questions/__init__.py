"""What a study asks of its results: tables, figures, claims, and what they refer to."""
