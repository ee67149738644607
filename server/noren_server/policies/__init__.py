"""Policies and screens: what students are told, by whom it was approved, and what they were really shown."""
