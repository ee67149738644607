"""A campaign from plan to head: what is agreed, and the machines that carry it out."""
