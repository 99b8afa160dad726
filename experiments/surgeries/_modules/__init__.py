"""Modules of our own that surgeries put into networks.

In a folder of their own, because looking for options imports every file beside them, and torch takes its time.
"""
