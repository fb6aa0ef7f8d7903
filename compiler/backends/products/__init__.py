"""Matrix products by the library: what its routines are told, and what they are."""
