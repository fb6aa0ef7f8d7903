"""A program as a C library: an archive with the function, and its header. Nothing of it is loaded here."""
