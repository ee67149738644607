"""What the pages of companies and of the platform share: one look, one way in, one way to post."""
