"""HTTP, and only HTTP: what is asked becomes values, what happens becomes answers."""
