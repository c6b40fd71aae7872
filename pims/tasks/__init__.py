"""Heavy work outside the server process."""
