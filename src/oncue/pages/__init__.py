"""How anything becomes a page: templates, and charts."""
