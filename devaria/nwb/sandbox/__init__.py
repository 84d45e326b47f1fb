"""The process that reads a stranger's file."""
