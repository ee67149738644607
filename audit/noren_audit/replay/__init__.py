"""Computing a company's training again, on its own machine."""
