"""The operator's console: pages for the people of the platform, each with roles of her own."""
