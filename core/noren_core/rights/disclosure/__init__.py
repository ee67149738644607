"""The student's own copy, and what she may ask."""
