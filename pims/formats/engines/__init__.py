"""The only importers of codec libraries; each maps foreign errors to ours."""
