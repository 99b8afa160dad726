"""`report.html`: a report as one file that needs nothing else, with or without scripts, online or not."""
