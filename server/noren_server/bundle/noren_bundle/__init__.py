"""What Flower calls an app: two references to installed packages and no code of its own."""
