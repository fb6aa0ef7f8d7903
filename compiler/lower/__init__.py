"""Graph → Loops. `reader` turns nodes into expressions, `cluster` groups them, `nests` and `program` write the loops."""
