"""What helps and how sure: the first page of a report."""
