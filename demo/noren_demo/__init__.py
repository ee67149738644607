"""One whole season on one machine: data, parties, comparison with reference models."""
