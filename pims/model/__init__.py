"""The vocabulary: frozen values without I/O, shared by every layer."""
