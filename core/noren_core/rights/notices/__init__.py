"""What students are told: policies, screens, texts, declared flows."""
