"""The language that the runtime's native parts are written in, and its compiler."""
