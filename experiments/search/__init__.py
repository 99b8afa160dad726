"""A search: what it varies, what for, and the study that it leaves behind."""
