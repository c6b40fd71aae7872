"""One module per resource: resolve, render, respond."""
