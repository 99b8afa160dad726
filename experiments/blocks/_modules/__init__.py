"""Modules of our own that blocks build.

In a folder of their own, because looking for options imports every file beside them, and torch takes its time.
"""
