"""What leaves this machine: every message that is sent, declared once, and how much of each went out."""
