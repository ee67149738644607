"""Echo rounds over real processes."""
