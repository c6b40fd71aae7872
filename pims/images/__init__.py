"""Looking at an image: opened once, shared by requests, rendered on demand."""
