"""What students have a right to, as the platform keeps and answers it; works in every service state."""
