"""What a trial needs around the trainer: data and weights in place, hooks assembled, costs measured."""
