"""Other machines: whether a cluster answers, what its nodes lack, and trials on them."""
