"""What trainings cost here, what each gets of the machine, and when all will be done."""
