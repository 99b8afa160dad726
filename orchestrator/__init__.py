"""Who runs trials, where and when: the command line, the executors and the live display."""
