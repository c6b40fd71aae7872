"""What a file is, says and contains. A format is recognised by its content, never by its name."""
