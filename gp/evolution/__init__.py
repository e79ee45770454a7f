"""The search: an evolution over expressions of the language whose fitness the lab measures."""
