"""The contract on the wire: generated from protos/."""
