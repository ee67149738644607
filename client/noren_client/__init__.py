"""What a hiring company runs."""
