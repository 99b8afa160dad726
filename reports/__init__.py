"""What was found: the record of a study as tables, figures and pages. Needs neither torch nor ray."""
