"""Who runs it, where and when: the command line, the executors and the live display."""
